//! The current certificate of DoT, DoH and DoQ: one pointer that the daemon swaps when the files change. The next
//! handshake has the new certificate, and no connection is lost. Reads no file.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

/// The certificate that new connections are shown. Without one, no connection is accepted.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwapOption<CertifiedKey>,
}

impl Certificates {
    /// Begins with this certificate, if there is one.
    pub fn new(first: Option<Arc<CertifiedKey>>) -> Certificates {
        Certificates { current: ArcSwapOption::new(first) }
    }

    /// When the first certificate of the chain that is shown ends, in Unix seconds; `None` where none can be read.
    pub fn ends_at(&self) -> Option<i64> {
        let shown = self.current.load_full()?;
        let each = shown.cert.iter().filter_map(|der| parse_x509_certificate(der).ok());
        each.map(|(_, certificate)| certificate.validity().not_after.timestamp()).min()
    }

    /// Shows another certificate to new connections.
    pub fn swap(&self, next: Arc<CertifiedKey>) {
        self.current.store(Some(next));
    }
}

impl ResolvesServerCert for Certificates {
    /// The same for every server name: clients that know only the address of a name server send no name.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}
