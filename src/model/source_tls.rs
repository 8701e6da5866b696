//! TLS to the server of a source: whom it trusts, and who the client is.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

/// `tls` of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceTls {
    /// The authorities to trust; `None`: those of the system.
    pub ca: Option<Pem>,
    /// The client's certificate.
    pub cert: Option<Pem>,
    /// Its key.
    pub key: Option<Pem>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
    /// The name that the server's certificate must have; `None`: the host of its URL.
    pub server_name: Option<String>,
}

impl SourceTls {
    /// The files that a connection reads.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca, &self.cert, &self.key].into_iter().flatten().filter_map(|pem| match pem {
            Pem::File(file) => Some(file),
            Pem::Text(..) => None,
        })
    }
}

impl Default for SourceTls {
    /// The system's authorities, no certificate of the client's.
    fn default() -> SourceTls {
        SourceTls { ca: None, cert: None, key: None, verify: true, server_name: None }
    }
}

/// Certificates or a key in the form of PEM.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// A file, read at each connection.
    File(PathBuf),
    /// The text itself, and where it was: `certificate-authority-data of eu.kubeconfig`.
    Text(Arc<Zeroizing<Vec<u8>>>, Arc<str>),
}

impl Pem {
    /// A file in `dir`.
    pub fn in_dir(dir: &Path, file: &str) -> Pem {
        Pem::File(dir.join(file))
    }
}

impl Hash for Pem {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Pem::File(file) => file.hash(state),
            Pem::Text(text, _) => text.as_slice().hash(state),
        }
    }
}

/// Where it is. A key is a secret: the text is never shown.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(file) => file.display().fmt(f),
            Pem::Text(_, place) => f.write_str(place),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({self})")
    }
}
