//! How often a client net may make calls without a token, and how often it may send a wrong token.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::admission::{RateByNet, SourceNet};
use crate::model::Moment;

/// Calls without a token, by what one of them costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum CallCost {
    /// It reads something: the page, metrics, status, names.
    Read,
    /// It explains a decision.
    Explain,
    /// It opens a stream of events, which may begin with thousands of them.
    Events,
    /// It simulates: up to some seconds of one core.
    Simulate,
    /// It reads and compiles all files.
    Reload,
}

impl CallCost {
    /// What a call costs; `None` for calls that cost next to nothing or need a token.
    pub(in crate::control) fn of(path: &str) -> Option<CallCost> {
        match path {
            "/healthz" | "/readyz" => None,
            "/v1/explain" => Some(CallCost::Explain),
            "/v1/events" => Some(CallCost::Events),
            "/v1/simulate" => Some(CallCost::Simulate),
            "/v1/reload" => Some(CallCost::Reload),
            path if ["/v1/overrides", "/v1/heartbeat/", "/v1/failback/", "/v1/drill/"]
                .iter()
                .any(|of| path.starts_with(of)) =>
            {
                None
            }
            _ => Some(CallCost::Read),
        }
    }
}

/// The limits. Judgment in each case: far above what people, scrapers and scripts that poll in a loop need, and low
/// enough that one client net can't keep a core busy with calls that are limited in nothing else.
#[derive(Debug)]
pub(in crate::control) struct CallRates {
    /// 1,000 a second, 5,000 at once. What the costly ones read is cached, and few are made at a time.
    read: RateByNet,
    /// 500 a second, 2,000 at once.
    explain: RateByNet,
    /// 20 a second, 300 at once: each page has one, which stays open.
    events: RateByNet,
    /// 10 a second, 60 at once. Only two run at a time.
    simulate: RateByNet,
    /// 10 a second, 300 at once: a script that deploys zone by zone, each time waiting until the zone is served.
    /// Requests that come during a load share the next one, so that their number costs little.
    reload: RateByNet,
}

impl Default for CallRates {
    fn default() -> CallRates {
        let a_second = |calls: u32, burst| RateByNet::new(Duration::from_secs(1) / calls, burst);
        CallRates {
            read: a_second(1000, 5000),
            explain: a_second(500, 2000),
            events: a_second(20, 300),
            simulate: a_second(10, 60),
            reload: a_second(10, 300),
        }
    }
}

impl CallRates {
    /// Counts a call; the error is how long the client must wait.
    pub(in crate::control) fn take(&self, cost: CallCost, client: IpAddr, now: Moment) -> Result<(), Duration> {
        let rate = match cost {
            CallCost::Read => &self.read,
            CallCost::Explain => &self.explain,
            CallCost::Events => &self.events,
            CallCost::Simulate => &self.simulate,
            CallCost::Reload => &self.reload,
        };
        rate.take(client, now)
    }
}

/// Wrong tokens that a client net may send at once. Judgment: a person who tries old tokens.
const WRONG_AT_ONCE: u32 = 10;
/// The time in which it may send one more.
const WRONG_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two lines of the log about wrong tokens (judgment).
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Slows client nets that send wrong tokens.
#[derive(Debug)]
pub(in crate::control) struct WrongTokens {
    rate: RateByNet,
    logged: Mutex<LogState>,
}

#[derive(Debug, Default)]
struct LogState {
    /// When the next line may be written.
    next: Moment,
    /// Wrong tokens since the last line.
    unlogged: u64,
}

/// A line of the log about wrong tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) struct WrongTokenLine {
    /// The client net of the last one.
    pub(in crate::control) net: IpAddr,
    /// Wrong tokens of all clients since the line before, with this one.
    pub(in crate::control) count: u64,
}

impl Default for WrongTokens {
    fn default() -> WrongTokens {
        WrongTokens { rate: RateByNet::new(WRONG_INTERVAL, WRONG_AT_ONCE), logged: Mutex::default() }
    }
}

impl WrongTokens {
    /// How long the net of a client must wait before its next token is looked at; zero if it need not.
    pub(in crate::control) fn wait(&self, client: IpAddr, now: Moment) -> Duration {
        self.rate.check(client, now).err().unwrap_or_default()
    }

    /// Counts a wrong token; the error is how long the client must wait. The second value is a line to log, if there is
    /// one: a burst has one line.
    pub(in crate::control) fn add(
        &self,
        client: IpAddr,
        now: Moment,
    ) -> (Result<(), Duration>, Option<WrongTokenLine>) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.unlogged += 1;
        let line = (now >= logged.next).then(|| {
            let count = std::mem::take(&mut logged.unlogged);
            logged.next = now + LOG_PAUSE;
            WrongTokenLine { net: SourceNet::of(client).address(), count }
        });
        (self.rate.take(client, now), line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(1_000_000 + millis))
    }

    #[test]
    fn each_call_has_its_limit_and_health_checks_have_none() {
        for (path, expected) in [
            ("/healthz", None),
            ("/readyz", None),
            ("/v1/overrides/fra1", None),
            ("/v1/heartbeat/fra1", None),
            ("/v1/reload", Some(300)),
            ("/v1/simulate", Some(60)),
            ("/v1/explain", Some(2000)),
            ("/v1/events", Some(300)),
            ("/v1/status", Some(5000)),
            ("/metrics", Some(5000)),
            ("/", Some(5000)),
            ("/v1/nothing", Some(5000)),
        ] {
            let (rates, cost) = (CallRates::default(), CallCost::of(path));
            let allowed = cost.map(|cost| (0..9999).filter(|_| rates.take(cost, HOST, at(0)).is_ok()).count());
            assert_eq!(allowed, expected, "{path}");
        }
    }

    #[test]
    fn a_net_that_sends_wrong_tokens_is_slowed_and_recovers_within_a_second() {
        let (wrong, other) = (WrongTokens::default(), "192.0.2.7".parse().unwrap());
        for _ in 0..WRONG_AT_ONCE {
            assert_eq!(wrong.wait(HOST, at(0)), Duration::ZERO);
            assert_eq!(wrong.add(HOST, at(0)).0, Ok(()));
        }
        assert_eq!(wrong.wait(HOST, at(0)), WRONG_INTERVAL);
        for millis in 0..900 {
            assert!(wrong.add(HOST, at(millis)).0.is_err());
        }
        assert_eq!((wrong.wait(other, at(900)), wrong.wait(HOST, at(1000))), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn a_burst_has_one_line_in_the_log_and_the_next_line_has_its_number() {
        let wrong = WrongTokens::default();
        let lines: Vec<_> = (0..1000).filter_map(|millis| wrong.add(HOST, at(millis)).1).collect();
        assert_eq!(lines, [WrongTokenLine { net: HOST, count: 1 }]);
        assert_eq!(wrong.add(HOST, at(20_000)).1, Some(WrongTokenLine { net: HOST, count: 1000 }));
    }
}
