//! Writes that the bucket refused, and when each is tried again. They are remembered by zone, so that a zone which
//! can't be written (a full bucket, a value that is too long) holds up no other one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::nats::name_of;
use crate::model::Moment;

/// From a refusal to the next try; twice as long after each further refusal, up to [`MAX_WAIT`] (judgment: a bucket
/// that is full is seldom empty a moment later, and a minute after it has room everything is written).
const FIRST_WAIT: Duration = Duration::from_secs(3);
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Longest reason that is stored, in characters: the text comes from a NATS server.
const MAX_WHY: usize = 200;

/// The refusals of one server.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    why: String,
    until: Moment,
    wait: Duration,
}

impl Refusals {
    /// Whether a key of this zone may be written now; for keys of no zone, the key.
    pub(super) fn may_write(&self, scope: &str, now: Moment) -> bool {
        self.0.get(scope).is_none_or(|refusal| now >= refusal.until)
    }

    /// The bucket refused this key.
    pub(super) fn note(&mut self, key: &str, why: &str, now: Moment) {
        let scope = scope(key);
        let wait = self.0.get(&scope).map_or(FIRST_WAIT, |before| (before.wait * 2).min(MAX_WAIT));
        let why = why.chars().take(MAX_WHY).collect();
        self.0.insert(scope, Refusal { why, until: now + wait, wait });
    }

    /// This key was written.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(&scope(key));
    }

    /// Nothing is to be written now: what could be tried again is not wanted any more.
    pub(super) fn forget_ended(&mut self, now: Moment) {
        self.0.retain(|_, refusal| now < refusal.until);
    }

    /// Why a zone was refused, if it was.
    pub(super) fn of(&self, zone: &str) -> Option<&str> {
        self.0.get(zone).map(|refusal| refusal.why.as_str())
    }

    /// Each zone or key with the reason.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(scope, refusal)| (scope.as_str(), refusal.why.as_str()))
    }
}

/// The zone of a key, or the key itself.
pub(super) fn scope(key: &str) -> String {
    let mut tokens = key.split('.');
    match (tokens.next(), tokens.next().and_then(name_of)) {
        (Some("zone" | "part"), Some(zone)) => zone,
        (Some(_) | None, Some(_) | None) => key.to_owned(),
    }
}
