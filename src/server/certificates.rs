//! The certificate of the moment, shown by DoT, DoH and DoQ alike: one pointer that the daemon swaps when the files
//! change, so that the next handshake has the new one and no connection is lost. Reads no file.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use x509_parser::parse_x509_certificate;

/// The certificate that new connections are shown; while there is none, none is accepted.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwapOption<CertifiedKey>,
}

impl Certificates {
    /// Shows this one.
    pub fn new(first: Option<Arc<CertifiedKey>>) -> Certificates {
        Certificates { current: ArcSwapOption::new(first) }
    }

    /// When the first certificate of the chain that is shown ends, in Unix seconds; `None` where none can be read.
    pub fn ends_at(&self) -> Option<i64> {
        let shown = self.current.load_full()?;
        let each = shown.cert.iter().filter_map(|der| parse_x509_certificate(der).ok());
        each.map(|(_, certificate)| certificate.validity().not_after.timestamp()).min()
    }

    /// Shows this one from now on.
    pub fn swap(&self, next: Arc<CertifiedKey>) {
        self.current.store(Some(next));
    }
}

impl ResolvesServerCert for Certificates {
    /// The same for every name: whoever asks a name server by address names none.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

/// TLS for one protocol. Without early data, whose repeats a server would have to tell from the original (RFC 9250, 4.5).
pub(super) fn server_config(
    certificates: Arc<Certificates>,
    alpn: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}
