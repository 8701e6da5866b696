//! TLS for the HTTP client of the commands: which authorities it trusts, and messages for TLS errors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::discovery::http_client::{TrustWords, explain};
use crate::source::{files, reason};

/// The environment variable that names a file of certificates.
pub(in crate::cli) const CA: &str = "PORTOLAN_CA";

/// Largest file of certificate authorities, in octets: those of a system take 250 KB.
const MAX_AUTHORITIES: u64 = 16 << 20;

/// Does a TLS handshake over `stream` with `host`, a name or an IP address. Trusts the certificates in `ca`, or those
/// of the system if there is no such file.
pub(super) async fn handshake(
    stream: TcpStream,
    host: &str,
    ca: Option<&Path>,
) -> Result<TlsStream<TcpStream>, String> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is not a valid name of a TLS server"))?;
    let roots = match ca {
        Some(file) => roots_of_file(file)?,
        None => roots_of_system()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(|error| explain(&error, host, &trust_words(ca)))
}

fn trust_words(ca: Option<&Path>) -> TrustWords {
    let how = "name the authority's file with --ca or in PORTOLAN_CA";
    TrustWords { file: ca.map(|_| "the file of --ca"), how, plain: "the URL" }
}

fn roots_of_file(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let text = files::read(file, MAX_AUTHORITIES)
        .map_err(|error| format!("can't read the certificates in {shown}: {}", reason(&error)))?;
    let read = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|error| format!("can't read the certificates in {shown}: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| format!("a certificate in {shown} is not valid: {error}"))?;
    }
    match roots.is_empty() {
        true => Err(format!("there is no certificate in {shown}; expected PEM: -----BEGIN CERTIFICATE-----")),
        false => Ok(roots),
    }
}

fn roots_of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // The stores of real systems have some certificates that can't be parsed. They must not make the others unusable.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err(format!("this system trusts no certificate authority; name a file with --ca or in {CA}")),
        false => Ok(roots),
    }
}

/// The file of certificates of the flag, else of the environment. An empty value counts as none.
pub(in crate::cli) fn ca_file(flag: Option<&PathBuf>) -> Option<PathBuf> {
    flag.cloned().or_else(|| std::env::var_os(CA).map(PathBuf::from)).filter(|file| !file.as_os_str().is_empty())
}
