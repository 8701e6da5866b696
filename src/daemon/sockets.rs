//! The sockets of a node: they are bound before anything is probed, and answer when the first round has ended.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rustls::sign::CertifiedKey;

use crate::clock;
use crate::config::{Listen, Settings, Tls};
use crate::daemon::StartError;
use crate::server::{BindError, Certificates, Encrypted, InheritedSockets, QueryLogState, Server, SocketUse};

/// The sockets, bound.
pub(super) struct Sockets {
    pub(super) server: Server,
    pub(super) certificates: Option<Arc<Certificates>>,
    /// The addresses of each encrypted transport.
    pub(super) encrypted: Vec<(Encrypted, Vec<SocketAddr>)>,
    /// What is known of the query log, if there is one.
    pub(super) query_log: Option<Arc<QueryLogState>>,
    /// The listener of the HTTP API, not blocking.
    pub(super) api: TcpListener,
    /// Whether a process before this one has served sockets of these: clients wait for their answers.
    pub(super) is_continued: bool,
}

/// How long the ports of a server that was killed may still be in use. Judgment: the system closes its files within
/// milliseconds, unless it is very busy.
const PORTS_WAIT: Duration = Duration::from_secs(3);
/// From one try to the next.
const PORTS_AGAIN: Duration = Duration::from_millis(20);

impl Sockets {
    /// Binds all of them after a server that may have ended a moment ago. It blocks.
    pub(super) fn bind_after(settings: &Settings) -> Result<Sockets, StartError> {
        let began = clock::now();
        loop {
            match Sockets::bind(settings, &mut InheritedSockets::default()) {
                Err(StartError::Bind(_, BindError::InUse { .. })) if clock::now().since(began) < PORTS_WAIT => {
                    sleep(PORTS_AGAIN);
                }
                other => return other,
            }
        }
    }

    /// Takes what was inherited and fits, and binds the others.
    pub(super) fn bind(settings: &Settings, inherited: &mut InheritedSockets) -> Result<Sockets, StartError> {
        let is_continued = !inherited.is_empty();
        let mut server = Server::bind_with(&settings.listen.dns, settings.listen.workers, inherited)
            .map_err(|error| StartError::Bind("dns", error))?;
        let certificates = settings.tls.as_ref().map(|tls| Arc::new(Certificates::new(shown(tls))));
        let encrypted = match &certificates {
            Some(certificates) => bind_encrypted(&mut server, &settings.listen, certificates, inherited)?,
            None => Vec::new(),
        };
        let address = settings.listen.http;
        let api = match inherited.take(SocketUse::Http, address).pop() {
            Some(api) => Ok(TcpListener::from(api)),
            None => TcpListener::bind(address),
        };
        let api = api.and_then(|api| api.set_nonblocking(true).map(|()| api));
        let api = api.map_err(|error| StartError::Bind("http", BindError::of_tcp(error, address)))?;
        let query_log = settings.dnstap.clone().map(|dnstap| server.log_queries(dnstap, &settings.node));
        Ok(Sockets { server, certificates, encrypted, query_log, api, is_continued })
    }
}

/// The certificate for clients, if there is one that can be used.
fn shown(tls: &Tls) -> Option<Arc<CertifiedKey>> {
    tls.certificate.as_ref().map(|certificate| certificate.certified.clone())
}

/// Binds the ports of the encrypted transports.
fn bind_encrypted(
    server: &mut Server,
    listen: &Listen,
    certificates: &Arc<Certificates>,
    inherited: &mut InheritedSockets,
) -> Result<Vec<(Encrypted, Vec<SocketAddr>)>, StartError> {
    let mut encrypted = Vec::new();
    for what in Encrypted::ALL {
        let wanted = match what {
            Encrypted::Tls => &listen.tls,
            Encrypted::Https => &listen.https,
            Encrypted::Quic => &listen.quic,
        };
        if !wanted.is_empty() {
            let bound = server
                .bind_encrypted(what, wanted, certificates, inherited)
                .map_err(|error| StartError::Bind(what.as_str(), error))?;
            encrypted.push((what, bound));
        }
    }
    Ok(encrypted)
}
