//! How much a vantage may send.

use crate::fleet::collector::refusal::Unaccepted;
use crate::model::Moment;

/// Messages that a vantage may send a second, in the long run. A vantage of 100,000 checks in an outage sends 20.
const MAX_MESSAGES_A_SEC: u64 = 32;
/// Octets that a vantage may send a second, in the long run. A vantage of 100,000 checks sends 800 kB in a hurried
/// round.
const MAX_OCTETS_A_SEC: u64 = 1024 * 1024;
/// What was not used of the last seconds may be used at once: after a break in the network, messages arrive together.
const BURST_SECS: u64 = 8;

/// The messages and octets that a vantage may send now: at most those of [`BURST_SECS`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    messages: f64,
    octets: f64,
    at: Moment,
}

impl Allowance {
    pub(super) fn full(now: Moment) -> Allowance {
        let [messages, octets] = [MAX_MESSAGES_A_SEC, MAX_OCTETS_A_SEC].map(|rate| (rate * BURST_SECS) as f64);
        Allowance { messages, octets, at: now }
    }

    pub(super) fn take(&mut self, octets: usize, now: Moment) -> Result<(), Unaccepted> {
        let (full, secs) = (Allowance::full(now), now.since(self.at).as_secs_f64());
        self.messages = (self.messages + secs * MAX_MESSAGES_A_SEC as f64).min(full.messages);
        self.octets = (self.octets + secs * MAX_OCTETS_A_SEC as f64).min(full.octets);
        self.at = now;
        let octets = octets as f64;
        if self.messages < 1.0 || self.octets < octets {
            return Err(Unaccepted::Rate);
        }
        self.messages -= 1.0;
        self.octets -= octets;
        Ok(())
    }
}
