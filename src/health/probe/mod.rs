//! Probes: each measures once and never judges. [`probe`] sends what a check asks for, bounded by the monitor's
//! time-out as a whole, and says how long the answer took or why there was none, in words that a person reads.
//! The prober calls it; what follows from a measurement is the detector's business.
//!
//! What the round-trip time means: for icmp the echo's, for tcp the handshake's, for tls
//! both handshakes', for dns from the question to the reply, for http, https and grpc the time from the connection's beginning to the head of the response, that is,
//! what a client waits for the first byte; what an attempt waited for its turn is not in it. That counts the server's own slowness in, on purpose: it ranks regions by what clients feel. That of an exec
//! probe is how long the program took, and ranks nothing.

mod attempt;
mod bounded;
mod clients;
mod dns;
mod exec;
mod failure;
mod grpc;
mod h2;
pub(in crate::health) mod hold;
mod http;
mod http1;
mod icmp;
mod orphans;
mod polite;
mod protobuf;
mod redirect;
mod response;
mod tcp;
mod tls;
mod unverified;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use clients::{ProbeClients, RightsError, Sources, check_rights};
pub use failure::{Failure, Granted};
pub use orphans::reap_orphans;

use crate::clock;
use crate::health::blindness::Found;
use crate::health::probe::attempt::Raced;
use crate::health::probe::polite::end_by;
use crate::health::{Pace, Rtt};
use crate::model::{CheckKey, Moment, ProbeKind, ProbeTarget};

/// What one probe found.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// The round-trip time of the attempt that succeeded, or why none did.
    pub result: Result<Duration, Failure>,
    /// The connections that the other side granted before a time-out.
    pub granted: Option<Granted>,
}

impl Measurement {
    /// What it says of the path.
    pub fn found(&self) -> Found {
        self.result.as_ref().map_or_else(|failure| failure.found(self.granted), |_| Found::Success)
    }
}

/// Probes once, and gives `done` what came of it, within the monitor's time-out; a program waits as long again for
/// room to run. `rtt` is what earlier probes of this check measured: it decides when an unanswered attempt is repeated
/// (see [`Pace`]). After that, attempts that were not the first to be answered end in order, for which it may take a
/// little longer.
pub async fn probe(clients: &ProbeClients, check: &CheckKey, rtt: &Rtt, done: impl FnOnce(Measurement)) {
    let timeout = rtt.timeout(&check.monitor);
    let began = clock::now();
    let Raced { result, granted, rest } = race(clients, check, rtt, began + timeout).await;
    let result = result.map_err(|failure| failure.within(check.target));
    // Within this host no path can break.
    let is_near = check.target.ip().is_some_and(|ip| ip.is_loopback());
    let granted = granted.map(|granted| Granted { is_late: granted.is_late || is_near, ..granted });
    done(Measurement { began, ended: clock::now(), result, granted });
    if let Some(rest) = rest {
        end_by(began + timeout, rest).await;
    }
}

async fn race<'a>(clients: &'a ProbeClients, check: &'a CheckKey, rtt: &Rtt, until: Moment) -> Raced<'a> {
    let timeout = rtt.timeout(&check.monitor);
    let light = || Pace::light(timeout, rtt);
    let staged = |round_trips| Pace::staged(timeout, rtt, round_trips);
    let result = match (&check.monitor.kind, check.target) {
        (ProbeKind::Icmp, ProbeTarget::Host(host)) => {
            attempt::repeat(light(), timeout, || icmp::echo(clients, host, timeout)).await
        }
        (ProbeKind::Icmp, ProbeTarget::Socket(to)) => {
            attempt::repeat(light(), timeout, || icmp::echo(clients, to.ip(), timeout)).await
        }
        (ProbeKind::Tcp, ProbeTarget::Socket(to)) => {
            attempt::repeat(light(), timeout, || tcp::handshake(clients, to)).await
        }
        (ProbeKind::Http(spec), ProbeTarget::Socket(to)) => {
            let site = http::Site { spec, certificate: None, to };
            return attempt::race(staged(2), timeout, |turn| http::get(clients, site, until, turn)).await;
        }
        (ProbeKind::Https(spec, certificate), ProbeTarget::Socket(to)) => {
            let site = http::Site { spec, certificate: Some(*certificate), to };
            return attempt::race(staged(3), timeout, |turn| http::get(clients, site, until, turn)).await;
        }
        (ProbeKind::Dns(spec), ProbeTarget::Socket(to)) => {
            attempt::repeat(light(), timeout, || dns::ask(clients, spec, to)).await
        }
        (ProbeKind::Grpc(spec), ProbeTarget::Socket(to)) => {
            let round_trips = if spec.tls.is_some() { 3 } else { 2 };
            let begin = |turn| grpc::check(clients, (spec, to), until, turn);
            return attempt::race(staged(round_trips), timeout, begin).await;
        }
        (ProbeKind::Exec(spec), target) => exec::run(spec, target, timeout).await,
        (ProbeKind::Tls(spec), ProbeTarget::Socket(to)) => {
            return attempt::race(staged(2), timeout, |turn| tls::probe(clients, spec, (to, until), turn)).await;
        }
        (
            ProbeKind::Tcp
            | ProbeKind::Http(_)
            | ProbeKind::Https(..)
            | ProbeKind::Tls(_)
            | ProbeKind::Dns(_)
            | ProbeKind::Grpc(_),
            ProbeTarget::Host(host),
        ) => Err(Failure::Vantage(format!("no port to probe at {host}"))),
        (ProbeKind::Heartbeat(_) | ProbeKind::Composite(_), _) | (_, ProbeTarget::Nowhere) => {
            Err(Failure::Vantage("nothing is sent to it".to_owned()))
        }
    };
    Raced { result, granted: None, rest: None }
}
