//! How often a client net may do something that costs something.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::SourceNet;
use crate::model::Moment;
use crate::rate::Rate;

/// Nets that are remembered. Above this the one that would be free again first is forgotten: it gains the least.
/// Judgment: a quarter of a MiB.
const MAX_NETS: usize = 4096;

/// What all nets of an IPv6 site may do together, in multiples of one net. Judgment: some hosts of one site.
const SITE_SHARE: u32 = 8;

/// A limit of rate for each client net: `burst` at once, then one each `interval`. All nets of one IPv6 /48 together
/// may do eight times as much. Time is an argument.
#[derive(Debug)]
pub struct RateByNet {
    of_net: Rate,
    nets: Mutex<Nets>,
}

/// For each net the state of its rate. A net that is not here has its whole burst.
#[derive(Debug, Default)]
struct Nets {
    free_at: HashMap<Key, Moment>,
    by_moment: BTreeSet<(Moment, Key)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Net(SourceNet),
    Site(SourceNet),
}

impl RateByNet {
    /// `burst` (at least 1) at once, then one each `interval`.
    pub fn new(interval: Duration, burst: u32) -> RateByNet {
        RateByNet { of_net: Rate::new(interval, burst), nets: Mutex::default() }
    }

    /// Counts one for the net of `source`, if it is within the limit; else how long it must wait.
    pub fn take(&self, source: IpAddr, now: Moment) -> Result<(), Duration> {
        let mut nets = self.nets.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = self.limits(SourceNet::of(source));
        nets.check(&limits, now)?;
        for (key, rate) in limits.into_iter().flatten() {
            nets.add(key, rate, now);
        }
        Ok(())
    }

    /// As [`RateByNet::take`], without counting.
    pub fn check(&self, source: IpAddr, now: Moment) -> Result<(), Duration> {
        let nets = self.nets.lock().unwrap_or_else(PoisonError::into_inner);
        nets.check(&self.limits(SourceNet::of(source)), now)
    }

    /// The limits of a net.
    fn limits(&self, net: SourceNet) -> Limits {
        let site = net.has_site().then(|| (Key::Site(net.site()), self.of_net.times(SITE_SHARE)));
        [Some((Key::Net(net), self.of_net)), site]
    }
}

/// The rate of a net, and that of its site.
type Limits = [Option<(Key, Rate)>; 2];

impl Nets {
    fn check(&self, limits: &Limits, now: Moment) -> Result<(), Duration> {
        let wait = |&(key, rate): &(Key, Rate)| {
            let free_at = self.free_at.get(&key).copied().unwrap_or(now);
            rate.check(free_at, now).err()
        };
        limits.iter().flatten().filter_map(wait).max().map_or(Ok(()), Err)
    }

    /// Counts one that is within the rate.
    fn add(&mut self, key: Key, rate: Rate, now: Moment) {
        let before = self.free_at.get(&key).copied();
        if let Some(before) = before {
            self.by_moment.remove(&(before, key));
        } else if self.free_at.len() >= MAX_NETS
            && let Some((_, first)) = self.by_moment.pop_first()
        {
            self.free_at.remove(&first);
        }
        let free_at = rate.counted(before.unwrap_or(now), now);
        self.free_at.insert(key, free_at);
        self.by_moment.insert((free_at, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Moment {
        Moment::START + Duration::from_millis(millis)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_net_has_its_burst_and_then_its_rate_and_other_nets_have_theirs() {
        let rate = RateByNet::new(SECOND, 3);
        for _ in 0..3 {
            assert_eq!(rate.take(ip("192.0.2.1"), at(0)), Ok(()));
        }
        assert_eq!(rate.take(ip("192.0.2.1"), at(100)), Err(Duration::from_millis(900)));
        assert_eq!(rate.check(ip("192.0.2.1"), at(100)), Err(Duration::from_millis(900)), "waiting does not add");
        assert_eq!(rate.take(ip("192.0.2.2"), at(100)), Ok(()));
        assert_eq!(rate.take(ip("192.0.2.1"), at(1000)), Ok(()));
        assert!(rate.take(ip("192.0.2.1"), at(1001)).is_err());
        let later = (0..20).filter(|_| rate.take(ip("192.0.2.1"), at(100_000)).is_ok()).count();
        assert_eq!(later, 3, "rest does not add up beyond the burst");
    }

    #[test]
    fn all_nets_of_a_site_have_a_limit_together() {
        let rate = RateByNet::new(SECOND, 3);
        let allowed = (0..1000).filter(|n| rate.take(ip(&format!("2001:db8:1:{n:x}::1")), at(0)).is_ok()).count();
        assert_eq!(allowed as u32, 3 * SITE_SHARE);
        assert_eq!(rate.take(ip("2001:db8:2::1"), at(0)), Ok(()));
    }

    #[test]
    fn the_memory_is_bounded_and_the_busiest_net_is_not_forgotten() {
        let rate = RateByNet::new(SECOND, 100);
        while rate.take(ip("192.0.2.1"), at(0)).is_ok() {}
        for n in 0..100_000_u32 {
            assert_eq!(rate.take(IpAddr::V4((0x0a00_0000 + n).into()), at(0)), Ok(()));
        }
        assert!(rate.take(ip("192.0.2.1"), at(0)).is_err());
        let nets = rate.nets.lock().unwrap();
        assert_eq!((nets.free_at.len(), nets.by_moment.len()), (MAX_NETS, MAX_NETS));
    }
}
