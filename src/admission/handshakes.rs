//! Which TLS handshakes are done while there are many.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::RateByNet;
use crate::model::Moment;

/// With fewer handshakes at a time none is refused. A handshake takes some 0.3 ms of processor time, so that a newcomer
/// waits 10 ms for as many.
const CROWDED: usize = 32;

/// Handshakes of one client net while there are many: this many at once, then one each interval. Judgment: a resolver
/// has one or a few connections, and 200 handshakes a second take less than a tenth of a core.
const BURST: u32 = 512;
const INTERVAL: Duration = Duration::from_millis(5);

/// The handshakes of one or several listeners. Clones share one count.
#[derive(Debug, Clone)]
pub struct Handshakes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rate: RateByNet,
    running: AtomicUsize,
}

/// A handshake that is being done, until this is dropped.
#[derive(Debug)]
pub struct Handshake {
    shared: Arc<Shared>,
}

impl Default for Handshakes {
    fn default() -> Handshakes {
        Handshakes { shared: Arc::new(Shared { rate: RateByNet::new(INTERVAL, BURST), running: AtomicUsize::new(0) }) }
    }
}

impl Handshakes {
    /// Admits a handshake of `source`; `None` if there are many at a time and its client net makes too many. The
    /// first packet costs a client nearly nothing, and this server a signature.
    pub fn admit(&self, source: IpAddr, now: Moment) -> Option<Handshake> {
        let is_within_rate = self.shared.rate.take(source, now).is_ok();
        if !is_within_rate && self.shared.running.load(Relaxed) >= CROWDED {
            return None;
        }
        self.shared.running.fetch_add(1, Relaxed);
        Some(Handshake { shared: self.shared.clone() })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::START + Duration::from_millis(millis)
    }

    #[test]
    fn while_there_are_many_a_net_has_its_rate_and_others_have_theirs() {
        let (handshakes, [flood, other]) =
            (Handshakes::default(), ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap()));
        for _ in 0..2 * BURST {
            assert!(handshakes.admit(flood, at(0)).is_some(), "one at a time");
        }
        let running: Vec<_> = (0..CROWDED).map(|_| handshakes.admit(flood, at(0)).unwrap()).collect();
        assert!(handshakes.admit(flood, at(0)).is_none());
        let admitted = (1000..2000).filter(|millis| handshakes.admit(flood, at(*millis)).is_some()).count();
        assert!((200..=401).contains(&admitted), "{admitted}");
        assert!(handshakes.admit(other, at(2000)).is_some());
        drop(running);
        assert!(handshakes.admit(flood, at(2000)).is_some(), "there are few again");
    }
}
