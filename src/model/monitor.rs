//! Monitors: declared checks; and the checks that follow from them, one for each distinct (monitor, address).

pub mod bounds;
pub mod composite;

pub use composite::Composite;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::wire::Name;

use crate::model::{CheckId, Digested, HeartbeatSpec, Quorum};

/// Most checks of a zone, and of what a vantage probes for a fleet (judgment: a vantage can't probe more in a second).
pub const MAX_ZONE_CHECKS: usize = 100_000;
/// The default of a time-out that doesn't adapt.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);

/// One thing that is probed: a monitor and an address.
#[derive(Debug, Clone)]
pub struct Check {
    /// What identifies it in reports and from one generation to the next.
    pub key: Arc<CheckKey>,
    /// Of a composite: its checks, as its key lists them; all come before it in the model.
    pub parts: Vec<CheckId>,
}

impl Check {
    /// A check that is not a composite.
    pub fn new(key: Arc<CheckKey>) -> Check {
        Check { key, parts: Vec::new() }
    }
}

/// Two checks with equal keys are the same check: it is probed once, and a reload does not end its history. All checks
/// of one monitor share it, so a key costs the same to store, hash and compare whatever the texts of its monitor are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckKey {
    /// What is probed and how it is judged.
    pub monitor: Digested<Monitor>,
    /// Where.
    pub target: ProbeTarget,
}

#[cfg(test)]
impl CheckKey {
    /// The check with another monitor.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Monitor)) -> CheckKey {
        let mut monitor = Monitor::clone(&self.monitor);
        change(&mut monitor);
        CheckKey { monitor: monitor.into(), target: self.target }
    }
}

/// Where a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeTarget {
    /// A host, for icmp.
    Host(IpAddr),
    /// An address and port.
    Socket(SocketAddr),
    /// Nothing is sent: heartbeats, which the service sends, and composites.
    Nowhere,
}

impl ProbeTarget {
    /// The host that is probed; none where nothing is sent.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            ProbeTarget::Host(host) => Some(*host),
            ProbeTarget::Socket(socket) => Some(socket.ip()),
            ProbeTarget::Nowhere => None,
        }
    }
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeTarget::Host(host) => host.fmt(f),
            ProbeTarget::Socket(socket) => socket.fmt(f),
            ProbeTarget::Nowhere => f.write_str("nowhere"),
        }
    }
}

/// A declared check without its name: what is sent, how often, and how results are judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Monitor {
    /// The protocol and its expectations.
    pub kind: ProbeKind,
    /// From one probe's start to the next; 50 ms at least, 1 s by default.
    pub interval: Duration,
    /// A probe that takes longer has failed; default 500 ms.
    pub timeout: Duration,
    /// Whether the time-out follows measured round-trip times, up to `timeout`.
    pub adaptive: bool,
    /// Failures, with no run of `rise` successes between them, that make an Up check Down; 1 to 100, default 3.
    pub fall: u32,
    /// Successes in a row that make a Down check Up; 1 to 100, default 2.
    pub rise: u32,
    /// Least time that it is Up or Down before the next change counts; up to an hour, default none.
    pub hold_down: Duration,
    /// Whether a check that flaps stays down for longer each time; default yes.
    pub damping: bool,
    /// Whether an idle connection is held, whose end starts a probe at once; default no. Not for icmp.
    pub hold: bool,
    /// How the reports of several vantages become one verdict.
    pub quorum: Quorum,
}

impl Monitor {
    /// A monitor of this kind with the defaults.
    pub fn new(kind: ProbeKind) -> Monitor {
        Monitor {
            kind,
            interval: Duration::from_secs(1),
            timeout: DEFAULT_TIMEOUT,
            adaptive: false,
            fall: 3,
            rise: 2,
            hold_down: Duration::ZERO,
            damping: true,
            hold: false,
            quorum: Quorum::default(),
        }
    }

    /// The octets of its texts.
    pub fn text_octets(&self) -> usize {
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        match &self.kind {
            ProbeKind::Icmp | ProbeKind::Tcp => 0,
            ProbeKind::Http(spec) | ProbeKind::Https(spec, _) => {
                let headers = spec.headers.iter().map(|(name, value)| name.len() + value.len());
                spec.path.len() + len(&spec.host) + len(&spec.body) + headers.sum::<usize>()
            }
            ProbeKind::Tls(spec) => len(&spec.host),
            ProbeKind::Exec(ExecSpec { command, endpoint }) => {
                command.program.len() + command.args.iter().map(String::len).sum::<usize>() + endpoint.len()
            }
            ProbeKind::Dns(spec) => match &spec.rdata {
                Some(DnsRdata::Text(text)) => spec.name.as_wire().len() + text.len(),
                Some(DnsRdata::Address(_)) | None => spec.name.as_wire().len(),
            },
            ProbeKind::Grpc(spec) => spec.service.len() + len(&spec.host),
            ProbeKind::Heartbeat(spec) => spec.zone.len() + spec.endpoint.len(),
            ProbeKind::Composite(composite) => composite.parts.iter().map(|part| part.name.len()).sum(),
        }
    }
}

/// The protocol of a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// An ICMP echo.
    Icmp,
    /// A TCP handshake.
    Tcp,
    /// An HTTP/1.1 GET in the clear.
    Http(HttpSpec),
    /// An HTTP GET over TLS, in the version that both sides agree on.
    Https(HttpSpec, CertificateRule),
    /// A TLS handshake.
    Tls(TlsSpec),
    /// A program of the operator's.
    Exec(ExecSpec),
    /// A DNS question.
    Dns(DnsSpec),
    /// The standard health check of gRPC.
    Grpc(GrpcSpec),
    /// No probe: the service reports that it is alive.
    Heartbeat(HeartbeatSpec),
    /// No probe: the verdict follows from those on other checks.
    Composite(Composite),
}

impl ProbeKind {
    /// The word for it in policy files and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            ProbeKind::Icmp => "icmp",
            ProbeKind::Tcp => "tcp",
            ProbeKind::Http(_) => "http",
            ProbeKind::Https(..) => "https",
            ProbeKind::Tls(_) => "tls",
            ProbeKind::Exec(_) => "exec",
            ProbeKind::Dns(_) => "dns",
            ProbeKind::Grpc(_) => "grpc",
            ProbeKind::Heartbeat(_) => "heartbeat",
            ProbeKind::Composite(composite) => composite.rule.as_str(),
        }
    }

    /// Whether the time of a success is a round-trip time. If not, `latency` cannot rank by it.
    pub fn measures_rtt(&self) -> bool {
        match self {
            ProbeKind::Exec(_) | ProbeKind::Heartbeat(_) | ProbeKind::Composite(_) => false,
            ProbeKind::Icmp
            | ProbeKind::Tcp
            | ProbeKind::Http(_)
            | ProbeKind::Https(..)
            | ProbeKind::Tls(_)
            | ProbeKind::Dns(_)
            | ProbeKind::Grpc(_) => true,
        }
    }

    /// Whether it needs the certificate authorities that the system trusts.
    pub fn verifies_certificates(&self) -> bool {
        match self {
            ProbeKind::Https(_, certificate) => certificate.verify,
            ProbeKind::Tls(spec) => spec.certificate.verify,
            ProbeKind::Grpc(spec) => spec.tls.is_some_and(|rule| rule.verify),
            ProbeKind::Icmp
            | ProbeKind::Tcp
            | ProbeKind::Http(_)
            | ProbeKind::Exec(_)
            | ProbeKind::Dns(_)
            | ProbeKind::Heartbeat(_)
            | ProbeKind::Composite(_) => false,
        }
    }

    /// The program of an exec monitor, an absolute path.
    pub fn program(&self) -> Option<&str> {
        if let ProbeKind::Exec(spec) = self { Some(&spec.command.program) } else { None }
    }

    /// The composite, where it is one.
    pub fn composite(&self) -> Option<&Composite> {
        if let ProbeKind::Composite(composite) = self { Some(composite) } else { None }
    }

    /// Whether something is sent.
    pub fn is_probed(&self) -> bool {
        self.heartbeat().is_none() && self.composite().is_none()
    }

    /// The heartbeat, where it is one.
    pub fn heartbeat(&self) -> Option<&HeartbeatSpec> {
        if let ProbeKind::Heartbeat(spec) = self { Some(spec) } else { None }
    }
}

/// What a certificate must fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificateRule {
    /// Whether it must be valid now and for the host, and signed by a trusted authority.
    pub verify: bool,
    /// Days that the server's own certificate must still be valid for; 0: only `verify` checks its end.
    pub min_days: u32,
}

/// What a tls monitor expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsSpec {
    /// The TLS server name; default: the probed address.
    pub host: Option<String>,
    /// What the certificate must fulfil.
    pub certificate: CertificateRule,
}

/// What a dns monitor asks and expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsSpec {
    /// The name.
    pub name: Name,
    /// The type of record; default A.
    pub qtype: u16,
    /// The response code of a success, 0 to 15; default NOERROR.
    pub rcode: u16,
    /// What one record of the type must have as its content.
    pub rdata: Option<DnsRdata>,
}

/// The content of a record, as far as monitors compare it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DnsRdata {
    /// Of A and AAAA records.
    Address(IpAddr),
    /// Of TXT records, its strings put together.
    Text(String),
}

impl fmt::Display for DnsRdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsRdata::Address(ip) => ip.fmt(f),
            DnsRdata::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// What a grpc monitor asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcSpec {
    /// The service; empty: the server as a whole.
    pub service: String,
    /// The authority, and the TLS server name; default: the probed address.
    pub host: Option<String>,
    /// What the certificate must fulfil; `None`: no TLS.
    pub tls: Option<CertificateRule>,
}

/// What an exec monitor runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecSpec {
    /// The program and its arguments, which all endpoints of the monitor share.
    pub command: Digested<ExecCommand>,
    /// The name of the endpoint that is judged, which the program receives.
    pub endpoint: String,
}

/// A program and what it is called with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecCommand {
    /// The program's file, an absolute path.
    pub program: String,
    /// What it is called with, besides its own name.
    pub args: Vec<String>,
}

/// What an http or https monitor asks and expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpSpec {
    /// Path and query, begins with `/`; default `/`.
    pub path: String,
    /// The Host header and the TLS server name; default: the probed address.
    pub host: Option<String>,
    /// Further request headers, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// Statuses that count as success; default 200 alone.
    pub statuses: Vec<u16>,
    /// Text that must occur in the first 64 KiB of the body.
    pub body: Option<String>,
    /// Most redirects that are followed, 0 to 10; default none.
    pub redirects: u32,
}
