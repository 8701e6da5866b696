//! Services that a drill counts as lost: their beats do not count until the end of the drill, and what they really are
//! is judged by a second state.

use std::sync::Arc;

use crate::health::heartbeats::{Heartbeats, Service};
use crate::health::{Heartbeat, Injection};
use crate::model::{CheckKey, Health, Moment};

/// What a lost service is without the drill.
#[derive(Debug, Clone)]
pub(super) struct LostService {
    pub(super) real: Heartbeat,
    /// The reason that operators read, which names the drill.
    why: Arc<str>,
}

impl Heartbeats {
    /// From now on the beats of these services do not count, until [`Heartbeats::restore_lost`].
    pub fn lose(&mut self, injection: &Injection) {
        for service in self.services.iter_mut().filter(|service| injection.checks.contains(&service.key)) {
            let (real, why) = (service.heartbeat.clone(), injection.why.clone());
            service.lost.get_or_insert_with(|| Box::new(LostService { real, why }));
        }
    }

    /// The lost services continue as if they had never been lost.
    pub fn restore_lost(&mut self, now: Moment) {
        for nth in 0..self.services.len() {
            if let Some(lost) = self.services[nth].lost.take() {
                let mut real = lost.real;
                real.advance(now);
                self.services[nth].heartbeat = real;
                self.reschedule(nth);
            }
        }
    }

    /// The lost services that are really down since the last call.
    pub fn really_down(&mut self, now: Moment) -> Vec<Arc<CheckKey>> {
        let lost = self.services.iter_mut().filter_map(|service| Some((&service.key, service.lost.as_mut()?)));
        let went_down = lost.filter_map(|(key, lost)| {
            let before = lost.real.health();
            lost.real.advance(now);
            ((before, lost.real.health()) == (Health::Up, Health::Down)).then(|| Arc::clone(key))
        });
        went_down.collect()
    }
}

impl Service {
    /// What it is without a drill.
    pub(super) fn real(&self) -> &Heartbeat {
        self.lost.as_deref().map_or(&self.heartbeat, |lost| &lost.real)
    }

    /// The reason for operators while it counts as lost and is not up.
    pub(super) fn loss(&self) -> Option<Arc<str>> {
        let lost = self.lost.as_ref().filter(|_| self.heartbeat.health() != Health::Up)?;
        Some(lost.why.clone())
    }
}
