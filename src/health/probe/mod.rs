//! Probes. Each measures once and never judges. [`probe`] makes the probe of a check, within the time-out of the
//! monitor. The result is the round-trip time, or a failure with a text for operators. The prober calls it and passes
//! the measurement to the detector.
//!
//! The round-trip time means: for icmp the time of the echo; for tcp the handshake; for tls both handshakes; for dns
//! the time from the query to the response; for http, https and grpc the time from the beginning of the connection to
//! the head of the response. The time that an attempt waits for its permit is not included. The time that the server
//! needs is included on purpose: steering ranks regions by what clients experience. For exec it is the time that the
//! program ran, which ranks nothing.

mod attempt;
mod body;
mod bounded;
mod clients;
mod closing;
mod dns;
mod exec;
mod failure;
mod grpc;
mod h2;
mod http;
mod http1;
mod icmp;
pub(in crate::health) mod keep_open;
mod orphans;
mod protobuf;
mod redirect;
mod response;
mod slots;
mod tcp;
mod tls;
mod tls_config;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use clients::{ProbeClients, RightsError, SourceAddresses, check_rights};
pub use exec::programs_ended;
pub(crate) use exec::{ProcessGroup, read_beginning};
pub use failure::{Failure, GrantedConnections};
pub(crate) use orphans::Program;
pub use orphans::reap_orphans;
pub(crate) use tls::is_of_authority;
pub(crate) use tls_config::{unverifying, verifying};

use crate::clock;
use crate::health::blindness::PathEvidence;
use crate::health::probe::attempt::RaceResult;
use crate::health::{Pace, Rtt};
use crate::model::{CheckKey, Moment, ProbeKind, ProbeTarget};

/// The result of one probe.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// The round-trip time of the attempt that succeeded, or the failure.
    pub result: Result<Duration, Failure>,
    /// The connections that the other side granted before a time-out.
    pub granted: Option<GrantedConnections>,
}

impl Measurement {
    /// What it says about the path.
    pub fn path_evidence(&self) -> PathEvidence {
        self.result.as_ref().map_or_else(|failure| failure.path_evidence(self.granted), |_| PathEvidence::Success)
    }
}

/// Probes once, within the time-out of the monitor, and calls `done` with the result. A program of an exec monitor may
/// wait for a slot for as long again. `rtt` comes from earlier probes of this check and decides when an attempt without
/// an answer is repeated (see [`Pace`]). After `done`, the connections of the other attempts are closed in order, which
/// may take a little longer.
pub async fn probe(clients: &ProbeClients, check: &CheckKey, rtt: &Rtt, done: impl FnOnce(Measurement)) {
    let timeout = rtt.timeout(&check.monitor);
    let began = clock::now();
    let RaceResult { result, granted, cleanup } = race(clients, check, rtt, began + timeout).await;
    let result = result.map_err(|failure| failure.at_target(check.target));
    // On loopback the path always works, so every granted connection proves it.
    let is_loopback = check.target.ip().is_some_and(|ip| ip.is_loopback());
    let granted = granted.map(|granted| GrantedConnections {
        after_overdue_answer: granted.after_overdue_answer || is_loopback,
        ..granted
    });
    done(Measurement { began, ended: clock::now(), result, granted });
    if let Some(cleanup) = cleanup {
        closing::close(began + timeout, cleanup).await;
    }
}

async fn race<'a>(clients: &'a ProbeClients, check: &'a CheckKey, rtt: &Rtt, until: Moment) -> RaceResult<'a> {
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
            let target = http::HttpTarget { spec, certificate: None, to };
            let begin = |permit| http::probe(clients, target, until, permit);
            return attempt::race(staged(2), timeout, begin).await;
        }
        (ProbeKind::Https(spec, certificate), ProbeTarget::Socket(to)) => {
            let target = http::HttpTarget { spec, certificate: Some(*certificate), to };
            let begin = |permit| http::probe(clients, target, until, permit);
            return attempt::race(staged(3), timeout, begin).await;
        }
        (ProbeKind::Dns(spec), ProbeTarget::Socket(to)) => {
            attempt::repeat(light(), timeout, || dns::probe(clients, spec, to)).await
        }
        (ProbeKind::Grpc(spec), ProbeTarget::Socket(to)) => {
            let round_trips = if spec.tls.is_some() { 3 } else { 2 };
            let begin = |permit| grpc::probe(clients, (spec, to), until, permit);
            return attempt::race(staged(round_trips), timeout, begin).await;
        }
        (ProbeKind::Exec(spec), target) => exec::run(&check.monitor, spec, target, timeout).await,
        (ProbeKind::Tls(spec), ProbeTarget::Socket(to)) => {
            let begin = |permit| tls::probe(clients, spec, (to, until), permit);
            return attempt::race(staged(2), timeout, begin).await;
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
    RaceResult { result, granted: None, cleanup: None }
}
