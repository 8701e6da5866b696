//! Connections to one receiver, over TCP or TLS, with HTTP/1.1.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex as AsyncMutex;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::clock;
use crate::config::WebhookSettings;
use crate::model::Moment;
use crate::sinks::SendFailure;
use crate::sinks::webhook::one_call::OneCall;
use crate::source::files;

/// Most addresses of a name that are tried for one connection (judgment: more belong to one load balancer).
const MAX_ADDRESSES: usize = 4;
/// How long one address has for the connection, where the name has others (judgment: ten round trips around the world).
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Largest file of certificates (judgment: the system's store of all authorities has 200 KiB).
const MAX_PEM: u64 = 1 << 20;
/// Certificates of authorities are read again after this time (judgment: they change once in months, and the store of
/// a system takes ten milliseconds).
const READ_AGAIN: Duration = Duration::from_secs(60);
/// Longest head of a response, in octets. Judgment: eight times what common servers allow for that of a request.
const MAX_HEAD: usize = 64 << 10;
/// Most headers of a response (judgment: receivers send ten).
const MAX_HEADERS: usize = 100;

/// Where a webhook is sent to.
#[derive(Debug)]
pub(super) struct Receiver {
    host: Host<String>,
    port: u16,
    /// Path and query.
    pub(super) path: Uri,
    /// The value of `host`.
    pub(super) authority: HeaderValue,
    is_tls: bool,
    ca: Option<PathBuf>,
    calls: OneCall,
    /// The TLS of connections, and when its certificates were read.
    tls: AsyncMutex<Option<(Moment, Arc<ClientConfig>)>>,
}

impl Receiver {
    /// That of settings whose URL was checked.
    pub(super) fn of(settings: &WebhookSettings, calls: OneCall) -> Receiver {
        let url = &settings.url;
        let host = url.host().map_or_else(|| Host::Domain(String::new()), |host| host.to_owned());
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        Receiver {
            host,
            port: url.port_or_known_default().unwrap_or(80),
            path: path_of(url),
            authority: HeaderValue::from_str(&authority).unwrap_or(HeaderValue::from_static("")),
            is_tls: url.scheme() == "https",
            ca: settings.ca.clone(),
            calls,
            tls: AsyncMutex::default(),
        }
    }

    /// A new connection. The caller has a time-out.
    pub(super) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, SendFailure> {
        let stream = self.tcp().await?;
        if !self.is_tls {
            return handshake(stream).await;
        }
        let config = self.tls_config().await?;
        let name = match &self.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).ok(),
            Host::Ipv4(ip) => Some(ServerName::from(std::net::IpAddr::from(*ip))),
            Host::Ipv6(ip) => Some(ServerName::from(std::net::IpAddr::from(*ip))),
        };
        let name = name.ok_or_else(|| SendFailure::away("the host is no name of a TLS server", "correct url"))?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
            let hint = "the receiver needs a certificate for the host in url, from an authority of the system or of ca";
            SendFailure::away(format!("TLS handshake failed: {error}"), hint)
        })?;
        handshake(stream).await
    }

    async fn tls_config(&self) -> Result<Arc<ClientConfig>, SendFailure> {
        let mut known = self.tls.lock().await;
        if let Some((at, config)) = &*known
            && clock::now().since(*at) < READ_AGAIN
        {
            return Ok(config.clone());
        }
        let ca = self.ca.clone();
        let hint = "the file of ca has the certificate of an authority; without ca install ca-certificates";
        let read = self.calls.make(move || read_tls(ca.as_deref())).await;
        let config = read.map_err(|why| SendFailure::away(why, hint))?;
        *known = Some((clock::now(), config.clone()));
        Ok(config)
    }

    async fn tcp(&self) -> Result<TcpStream, SendFailure> {
        let addresses = self.addresses().await?;
        let mut last = None;
        for (at, address) in addresses.iter().enumerate() {
            let connecting = TcpStream::connect(address);
            let connected = match at + 1 < addresses.len() {
                true => tokio::time::timeout(CONNECT_WITHIN, connecting).await,
                false => Ok(connecting.await),
            };
            match connected {
                Ok(Ok(stream)) => {
                    // Each request is one write.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Some(format!("can't connect to {address}: {error}")),
                Err(_) => last = Some(format!("can't connect to {address}: no reply")),
            }
        }
        Err(SendFailure::away(last.unwrap_or_default(), "look whether the receiver runs, and can be reached from here"))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, SendFailure> {
        let name = match &self.host {
            Host::Ipv4(ip) => return Ok(vec![SocketAddr::new((*ip).into(), self.port)]),
            Host::Ipv6(ip) => return Ok(vec![SocketAddr::new((*ip).into(), self.port)]),
            Host::Domain(name) => name,
        };
        let hint = "look whether this host resolves the name, and correct url or the resolver";
        let shown = name.clone();
        let unresolved = |why: String| SendFailure::away(format!("can't resolve {shown}: {why}"), hint);
        let (name, port) = (name.clone(), self.port);
        let resolve = move || {
            let found = (name.as_str(), port).to_socket_addrs().map_err(|error| error.to_string())?;
            Ok(found.take(MAX_ADDRESSES).collect::<Vec<SocketAddr>>())
        };
        let found = self.calls.make(resolve).await.map_err(unresolved)?;
        if found.is_empty() { Err(unresolved("it has no address".to_owned())) } else { Ok(found) }
    }
}

/// Path and query of a URL.
fn path_of(url: &Url) -> Uri {
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    // A parsed URL has escapes for what a path can't have.
    format!("{}{query}", url.path()).parse().unwrap_or_else(|_| Uri::from_static("/"))
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, SendFailure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    // It ends when the sender is dropped, or the receiver closes the connection.
    tokio::spawn(connection);
    Ok(sender)
}

/// A request that got no response.
pub(super) fn failed(error: &hyper::Error) -> SendFailure {
    let (why, hint) = if error.is_parse() {
        (format!("the response is not HTTP: {error}"), "compare url with the address of the receiver")
    } else {
        let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        (format!("{error}{cause}"), "look whether the receiver runs, and read its log")
    };
    SendFailure::away(why, hint)
}

/// A client that trusts the certificates of a file, or those of the system. It blocks.
fn read_tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(authorities(ca)?).with_no_client_auth()))
}

fn authorities(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let text = files::read(path, MAX_PEM).map_err(|error| format!("{}: {error}", path.display()))?;
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).filter_map(Result::ok));
        }
        // The stores of real systems contain certificates that can't be parsed.
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    match (roots.is_empty(), ca) {
        (false, _) => Ok(roots),
        (true, Some(path)) => Err(format!("{}: no certificate in it", path.display())),
        (true, None) => Err("the system has no certificate authority".to_owned()),
    }
}
