//! What probes share: source addresses, the ICMP sockets and the certificates that are trusted. One of these is made
//! for each prober; sockets and certificates are opened when a probe first needs them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ClientConfig, RootCertStore};
use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence};
use tokio::sync::OnceCell;

use crate::clock;
use crate::health::probe::{Failure, tls};
use crate::model::{CheckKey, ProbeKind};

/// The addresses that probes are sent from; where there is none, the kernel chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sources {
    /// For IPv4 targets.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 targets.
    pub v6: Option<Ipv6Addr>,
}

impl Sources {
    /// The source for probes of `target`, with port 0.
    pub fn towards(&self, target: IpAddr) -> Option<SocketAddr> {
        match target {
            IpAddr::V4(_) => self.v4.map(|from| SocketAddr::new(from.into(), 0)),
            IpAddr::V6(_) => self.v6.map(|from| SocketAddr::new(from.into(), 0)),
        }
    }
}

/// What the probes of one prober share.
pub struct ProbeClients {
    sources: Sources,
    icmp_v4: Mutex<Option<Client>>,
    icmp_v6: Mutex<Option<Client>>,
    ident: u16,
    sequence: AtomicU16,
    verified: OnceCell<Arc<ClientConfig>>,
    unverified: OnceCell<Arc<ClientConfig>>,
}

impl ProbeClients {
    /// Opens nothing yet. https and tls probes will trust the system's certificates, or those of `SSL_CERT_FILE`.
    pub fn new(sources: Sources) -> ProbeClients {
        ProbeClients {
            sources,
            icmp_v4: Mutex::default(),
            icmp_v6: Mutex::default(),
            ident: next_ident(),
            sequence: AtomicU16::new(0),
            verified: OnceCell::new(),
            unverified: OnceCell::new(),
        }
    }

    /// The same, but https and tls probes trust `roots` and nobody else.
    pub fn trusting(sources: Sources, roots: RootCertStore) -> ProbeClients {
        ProbeClients { verified: OnceCell::new_with(Some(tls::verifying(roots))), ..ProbeClients::new(sources) }
    }

    /// The addresses that probes are sent from.
    pub fn sources(&self) -> Sources {
        self.sources
    }

    /// One socket for all echoes of a family; opened at the first, so that a right that is granted later counts.
    pub(super) fn icmp_towards(&self, target: IpAddr) -> Result<Client, Failure> {
        let (cell, kind) = match target {
            IpAddr::V4(_) => (&self.icmp_v4, ICMP::V4),
            IpAddr::V6(_) => (&self.icmp_v6, ICMP::V6),
        };
        let mut client = cell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let mut config = Config::builder().kind(kind);
        if let Some(source) = self.sources.towards(target) {
            config = config.bind(source);
        }
        let opened = Client::new(&config.build())
            .map_err(|error| Failure::Vantage(RightsError::icmp(target.is_ipv4(), error).to_string()))?;
        Ok(client.insert(opened).clone())
    }

    /// Marks of one echo. Unprivileged sockets match replies by sequence alone, so no two under way may share it.
    pub(super) fn echo_marks(&self) -> (PingIdentifier, PingSequence) {
        (PingIdentifier(self.ident), PingSequence(self.sequence.fetch_add(1, Ordering::Relaxed)))
    }

    /// What a TLS client goes by: whom it trusts, or that it doesn't ask who the server is.
    pub(super) async fn tls(&self, verify: bool) -> Result<&Arc<ClientConfig>, Failure> {
        if !verify {
            return Ok(self.unverified.get_or_init(|| async { tls::unverifying() }).await);
        }
        self.verified
            .get_or_try_init(|| async {
                // Reading some hundred certificates takes milliseconds; other probes' times must not show it.
                let roots = tokio::task::spawn_blocking(system_roots).await;
                let roots = roots.map_err(|error| Failure::Vantage(error.to_string()))?;
                Ok(tls::verifying(roots.map_err(|error| Failure::Vantage(error.to_string()))?))
            })
            .await
    }
}

impl fmt::Debug for ProbeClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeClients").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// Why this process can't send what a check asks for; one line that says what to do.
#[derive(Debug)]
pub enum RightsError {
    /// No ICMP socket of this family may be opened.
    Icmp {
        /// 4 or 6.
        version: u8,
        /// What the system said.
        error: io::Error,
    },
    /// https and tls monitors trust nobody: no certificate authority was found.
    Trust(String),
}

impl RightsError {
    fn icmp(is_v4: bool, error: io::Error) -> RightsError {
        RightsError::Icmp { version: if is_v4 { 4 } else { 6 }, error }
    }
}

impl fmt::Display for RightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RightsError::Icmp { version, error } if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "icmp monitors need the right to send IPv{version} echoes: grant CAP_NET_RAW (setcap cap_net_raw+ep on \
                 the program, or AmbientCapabilities=CAP_NET_RAW in its unit), or put its group into \
                 net.ipv4.ping_group_range (sysctl -w net.ipv4.ping_group_range=\"0 2147483647\", which IPv6 goes by too)"
            ),
            RightsError::Icmp { version, error } => {
                write!(f, "icmp monitors can't open an IPv{version} echo socket: {}", first_line(error))
            }
            RightsError::Trust(why) => write!(
                f,
                "https and tls monitors trust no certificate authority: install the system's (ca-certificates), or name a PEM \
                 file in SSL_CERT_FILE{why}"
            ),
        }
    }
}

impl std::error::Error for RightsError {}

/// Whether this process may send what `checks` ask for; to be asked once at the start, so that a missing right is one
/// clear line and not a world that looks down.
pub fn check_rights<'a>(checks: impl IntoIterator<Item = &'a CheckKey>) -> Result<(), RightsError> {
    let (mut v4, mut v6, mut https) = (false, false, false);
    for check in checks {
        match &check.monitor.kind {
            ProbeKind::Icmp if check.target.ip().is_some_and(|ip| ip.is_ipv4()) => v4 = true,
            ProbeKind::Icmp => v6 = true,
            ProbeKind::Https(_, certificate) => https |= certificate.verify,
            ProbeKind::Tls(spec) => https |= spec.certificate.verify,
            ProbeKind::Grpc(spec) => https |= spec.tls.is_some_and(|rule| rule.verify),
            ProbeKind::Tcp
            | ProbeKind::Http(_)
            | ProbeKind::Exec(_)
            | ProbeKind::Dns(_)
            | ProbeKind::Heartbeat(_)
            | ProbeKind::Composite(_) => {}
        }
    }
    if v4 {
        open_echo_socket(socket2::Domain::IPV4, socket2::Protocol::ICMPV4)
            .map_err(|error| RightsError::icmp(true, error))?;
    }
    if v6 {
        open_echo_socket(socket2::Domain::IPV6, socket2::Protocol::ICMPV6)
            .map_err(|error| RightsError::icmp(false, error))?;
    }
    if https { system_roots().map(drop) } else { Ok(()) }
}

/// The unprivileged kind first, then the raw one, as the ICMP client will.
fn open_echo_socket(domain: socket2::Domain, protocol: socket2::Protocol) -> io::Result<()> {
    let open = |kind| socket2::Socket::new(domain, kind, Some(protocol)).map(drop);
    open(socket2::Type::DGRAM).or_else(|first| open(socket2::Type::RAW).map_err(|_| first))
}

fn system_roots() -> Result<RootCertStore, RightsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Stores of real systems hold certificates that can't be parsed; they only fail those who rely on them.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({})", first_line(error)));
        return Err(RightsError::Trust(why));
    }
    Ok(roots)
}

/// Raw sockets of one host see each other's replies, so every prober's echoes carry an identifier of their own.
fn next_ident() -> u16 {
    static LAST: OnceCell<AtomicU16> = OnceCell::const_new();
    match LAST.get() {
        Some(last) => last.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
        None => {
            let first = clock::entropy() as u16;
            // Two first callers at once: the one who comes second draws from the other's count.
            match LAST.set(AtomicU16::new(first)) {
                Ok(()) => first,
                Err(_) => next_ident(),
            }
        }
    }
}

fn first_line(error: &impl fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_one_line_that_says_what_to_do() {
        for (is_v4, version) in [(true, "IPv4"), (false, "IPv6")] {
            let said = RightsError::icmp(is_v4, io::ErrorKind::PermissionDenied.into()).to_string();
            assert_eq!(said.lines().count(), 1);
            for word in [version, "CAP_NET_RAW", "net.ipv4.ping_group_range"] {
                assert!(said.contains(word), "{word} in {said}");
            }
        }
        let said = RightsError::Trust(String::new()).to_string();
        assert!(said.lines().count() == 1 && said.contains("SSL_CERT_FILE"), "{said}");
    }

    #[test]
    fn rights_are_asked_for_only_where_a_check_needs_them() {
        assert!(check_rights([]).is_ok());
    }

    #[test]
    fn every_prober_has_an_identifier_of_its_own() {
        let (one, other) = (ProbeClients::new(Sources::default()), ProbeClients::new(Sources::default()));
        assert_ne!(one.ident, other.ident);
        assert_ne!(one.echo_marks().1.into_u16(), one.echo_marks().1.into_u16());
    }
}
