//! What the probes of one prober share: source addresses, ICMP sockets and trusted certificates. Sockets are opened and
//! certificates are read when a probe first needs them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ClientConfig, RootCertStore};
use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence};
use tokio::sync::OnceCell;

use crate::clock;
use crate::health::probe::{Failure, tls_config};
use crate::model::{CheckKey, ProbeKind};

/// The addresses that probes are sent from. Without one, the kernel chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceAddresses {
    /// For IPv4 targets.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 targets.
    pub v6: Option<Ipv6Addr>,
}

impl SourceAddresses {
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
    sources: SourceAddresses,
    icmp_v4: Mutex<Option<Client>>,
    icmp_v6: Mutex<Option<Client>>,
    ident: u16,
    sequence: AtomicU16,
    verified: OnceCell<Arc<ClientConfig>>,
    unverified: OnceCell<Arc<ClientConfig>>,
}

impl ProbeClients {
    /// Opens nothing yet. https and tls probes trust the certificates of the system, or those of `SSL_CERT_FILE`.
    pub fn new(sources: SourceAddresses) -> ProbeClients {
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

    /// As [`ProbeClients::new`], but https and tls probes trust only `roots`.
    pub fn trusting(sources: SourceAddresses, roots: RootCertStore) -> ProbeClients {
        ProbeClients { verified: OnceCell::new_with(Some(tls_config::verifying(roots))), ..ProbeClients::new(sources) }
    }

    /// The addresses that probes are sent from.
    pub fn sources(&self) -> SourceAddresses {
        self.sources
    }

    /// The socket for all echoes of a family. It is opened for the first echo, so that a right that is granted to this
    /// process later has an effect.
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

    /// The identifier and the sequence number of the next echo. Unprivileged sockets match replies by the sequence
    /// number alone, so no two echoes under way may share it.
    pub(super) fn next_echo(&self) -> (PingIdentifier, PingSequence) {
        (PingIdentifier(self.ident), PingSequence(self.sequence.fetch_add(1, Ordering::Relaxed)))
    }

    /// The TLS configuration that verifies the certificate of the server, or the one that accepts every certificate.
    pub(super) async fn tls(&self, verify: bool) -> Result<&Arc<ClientConfig>, Failure> {
        if !verify {
            return Ok(self.unverified.get_or_init(|| async { tls_config::unverifying() }).await);
        }
        self.verified
            .get_or_try_init(|| async {
                // Some hundred certificates take milliseconds to read. That must not delay other probes.
                let roots = tokio::task::spawn_blocking(system_roots).await;
                let roots = roots.map_err(|error| Failure::Vantage(error.to_string()))?;
                Ok(tls_config::verifying(roots.map_err(|error| Failure::Vantage(error.to_string()))?))
            })
            .await
    }
}

impl fmt::Debug for ProbeClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeClients").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// Why this process can't make the probes of a check. The text is one line and says what to do.
#[derive(Debug)]
pub enum RightsError {
    /// No ICMP socket of this family may be opened.
    Icmp {
        /// 4 or 6.
        version: u8,
        /// The error of the system.
        error: io::Error,
    },
    /// No certificate authority was found, so https and tls monitors would trust no server.
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
                 net.ipv4.ping_group_range (sysctl -w net.ipv4.ping_group_range=\"0 2147483647\", which holds for IPv6 \
                 too)"
            ),
            RightsError::Icmp { version, error } => {
                write!(f, "icmp monitors can't open an IPv{version} echo socket: {}", first_line(error))
            }
            RightsError::Trust(why) => write!(
                f,
                "https and tls monitors trust no certificate authority: install the system's (ca-certificates), or \
                 name a PEM file in SSL_CERT_FILE{why}"
            ),
        }
    }
}

impl std::error::Error for RightsError {}

/// Checks that this process has the rights that the probes of `checks` need. To be called at the start, so that a
/// missing right is one clear message. Otherwise every endpoint would seem to fail.
pub fn check_rights<'a>(checks: impl IntoIterator<Item = &'a CheckKey>) -> Result<(), RightsError> {
    let (mut v4, mut v6, mut has_certificates) = (false, false, false);
    for check in checks {
        let kind = &check.monitor.kind;
        if *kind == ProbeKind::Icmp {
            let is_v4 = check.target.ip().is_some_and(|ip| ip.is_ipv4());
            v4 |= is_v4;
            v6 |= !is_v4;
        }
        has_certificates |= kind.verifies_certificates();
    }
    if v4 {
        open_echo_socket(socket2::Domain::IPV4, socket2::Protocol::ICMPV4)
            .map_err(|error| RightsError::icmp(true, error))?;
    }
    if v6 {
        open_echo_socket(socket2::Domain::IPV6, socket2::Protocol::ICMPV6)
            .map_err(|error| RightsError::icmp(false, error))?;
    }
    if has_certificates { system_roots().map(drop) } else { Ok(()) }
}

/// Tries the unprivileged kind of socket first and then the raw one, as the ICMP client does.
fn open_echo_socket(domain: socket2::Domain, protocol: socket2::Protocol) -> io::Result<()> {
    let open = |kind| socket2::Socket::new(domain, kind, Some(protocol)).map(drop);
    open(socket2::Type::DGRAM).or_else(|first| open(socket2::Type::RAW).map_err(|_| first))
}

fn system_roots() -> Result<RootCertStore, RightsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // The stores of real systems contain certificates that can't be parsed. Only servers that use those fail.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({})", first_line(error)));
        return Err(RightsError::Trust(why));
    }
    Ok(roots)
}

/// An identifier for the echoes of one prober. Each prober needs its own, because every raw socket of a host receives
/// all replies.
fn next_ident() -> u16 {
    static LAST: OnceCell<AtomicU16> = OnceCell::const_new();
    match LAST.get() {
        Some(last) => last.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
        None => {
            let first = clock::entropy() as u16;
            // If two callers are first at the same time, the second one counts on from the value of the other.
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
            let message = RightsError::icmp(is_v4, io::ErrorKind::PermissionDenied.into()).to_string();
            assert_eq!(message.lines().count(), 1);
            for part in [version, "CAP_NET_RAW", "net.ipv4.ping_group_range"] {
                assert!(message.contains(part), "{part} in {message}");
            }
        }
        let message = RightsError::Trust(String::new()).to_string();
        assert!(message.lines().count() == 1 && message.contains("SSL_CERT_FILE"), "{message}");
    }

    #[test]
    fn no_right_is_needed_without_a_check() {
        assert!(check_rights([]).is_ok());
    }

    #[test]
    fn every_prober_has_an_identifier_of_its_own() {
        let (one, other) =
            (ProbeClients::new(SourceAddresses::default()), ProbeClients::new(SourceAddresses::default()));
        assert_ne!(one.ident, other.ident);
        assert_ne!(one.next_echo().1.into_u16(), one.next_echo().1.into_u16());
    }
}
