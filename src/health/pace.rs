//! When the attempts of one probe begin. A probe is one question, "does it answer within the time-out?", but a single
//! lost packet must not be its answer: TCP sends a lost SYN again after a whole second, later than most time-outs.
//! So while nothing has come back a probe asks again, and the first answer counts. Pure; `probe` runs it.
//!
//! Why it matters: at 20 % loss in each direction a probe of one packet fails 36 times in 100, and `fall` failures
//! without a run of `rise` successes come every minute. Six attempts fail 4 times in 1,000 (with 100 +- 60 ms there and
//! back, and the default time-out), and of 2,000 simulated runs of 10 minutes one saw a flip; see `simulation`.

use std::time::Duration;

use crate::health::Rtt;

/// Most attempts of a probe whose attempts cost the other side next to nothing: an echo, a handshake.
/// 0.36^6 is 0.2 %, small enough that `fall` of them in a row don't happen by chance.
const LIGHT_ATTEMPTS: u32 = 6;
/// Most attempts of a probe that makes the other side work: a request. Judgment: a health page may ask a
/// database, and one that is slow from load must not get six times the load.
const HEAVY_ATTEMPTS: u32 = 4;
/// After the first repeat, attempts begin this part of the time-out apart.
const REPEAT_PARTS: u32 = 8;

/// The beginnings of a probe's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    first_repeat: Duration,
    then_every: Duration,
    attempts: u32,
}

impl Pace {
    /// For probes whose attempts are cheap for the other side (icmp, tcp).
    pub fn light(timeout: Duration, rtt: &Rtt) -> Pace {
        Pace::new(timeout, rtt, LIGHT_ATTEMPTS)
    }

    /// For probes whose attempts are requests (http, https).
    pub fn heavy(timeout: Duration, rtt: &Rtt) -> Pace {
        Pace::new(timeout, rtt, HEAVY_ATTEMPTS)
    }

    /// The first repeat waits until an answer is overdue, so that in peace nothing is sent twice: the smoothed RTT and
    /// two deviations, or a margin where there is next to no deviation. Once something is overdue the rest of the
    /// time-out is used densely.
    fn new(timeout: Duration, rtt: &Rtt, attempts: u32) -> Pace {
        let then_every = timeout / REPEAT_PARTS;
        let overdue = match (rtt.srtt(), rtt.rttvar()) {
            (Some(srtt), Some(rttvar)) => srtt + (rttvar * 2).max(then_every / 2),
            _ => timeout / 4,
        };
        Pace { first_repeat: overdue.clamp(then_every, timeout / 2), then_every, attempts }
    }

    /// How long after the probe's start attempt `nth` begins, counted from 0; `None` when there is no such attempt.
    pub fn start_of(&self, nth: u32) -> Option<Duration> {
        match nth {
            0 => Some(Duration::ZERO),
            _ if nth >= self.attempts => None,
            _ => Some(self.first_repeat + self.then_every * (nth - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts_ms(pace: Pace) -> Vec<u128> {
        (0..).map_while(|nth| pace.start_of(nth)).map(|start| start.as_millis()).collect()
    }

    fn settled(ms: u64) -> Rtt {
        let mut rtt = Rtt::default();
        for _ in 0..100 {
            rtt.learn(Duration::from_millis(ms));
        }
        rtt
    }

    #[test]
    fn nothing_is_asked_twice_while_answers_come_as_usual() {
        let timeout = Duration::from_millis(500);
        for usual in [1, 20, 60, 120, 200, 240] {
            let pace = Pace::heavy(timeout, &settled(usual));
            let slow = Duration::from_millis(usual + usual / 8);
            let patience = slow.min(timeout / 2);
            assert!(pace.start_of(1).is_some_and(|start| start >= patience), "{usual} ms: {pace:?}");
        }
    }

    #[test]
    fn what_is_overdue_is_asked_again_until_near_the_time_out() {
        let timeout = Duration::from_millis(800);
        assert_eq!(starts_ms(Pace::light(timeout, &settled(10))), [0, 100, 200, 300, 400, 500]);
        assert_eq!(starts_ms(Pace::light(timeout, &Rtt::default())), [0, 200, 300, 400, 500, 600]);
        assert_eq!(starts_ms(Pace::heavy(timeout, &settled(700))), [0, 400, 500, 600]);
    }
}
