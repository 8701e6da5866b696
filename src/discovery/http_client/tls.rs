//! TLS to a source: which authorities are trusted, the own certificate, and messages for errors. The files are read at
//! each connection, so that renewed ones are used.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use crate::discovery::http_client::HttpFailure;
use crate::health::probe::{is_of_authority, unverifying, verifying};
use crate::model::{Pem, SourceTls};
use crate::source::{files, reason};

/// Largest file of certificates or of a key in octets (judgment: the system's store of all authorities has 250 KB).
const MAX_PEM: u64 = 1 << 20;

/// Does the handshake with `host`, a name or an IP address.
pub(super) async fn handshake(
    stream: TcpStream,
    host: &str,
    tls: &SourceTls,
) -> Result<TlsStream<TcpStream>, HttpFailure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| HttpFailure::Tls(format!("`{host}` is no name of a TLS server")))?;
    let files = tls.clone();
    // Files may be on a slow disk, and the store of the system has some hundred certificates.
    let config = tokio::task::spawn_blocking(move || client_config(&files)).await;
    let config = config.map_err(|error| HttpFailure::Tls(error.to_string()))?.map_err(HttpFailure::Tls)?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|error| HttpFailure::Tls(explain(&error, host, &trust_words(tls))))
}

/// The settings of a client for these files, which it reads: not on a thread that must not wait.
pub(crate) fn client_config(tls: &SourceTls) -> Result<Arc<ClientConfig>, String> {
    let config = match (tls.verify, &tls.ca) {
        (false, _) => unverifying(),
        (true, Some(pem)) => verifying(roots_of(pem)?),
        (true, None) => verifying(system_roots()?),
    };
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return Ok(config) };
    let (chain, text) = (certificates(cert)?, read(key)?);
    let private = PrivateKeyDer::from_pem_slice(&text);
    let private = private.map_err(|error| format!("the key in {key} can't be read: {error}"))?;
    let own = CertifiedKey::from_der(chain, private, &ring::default_provider())
        .map_err(|error| format!("{cert} and {key} can't be used: {error}"))?;
    let mut config = ClientConfig::clone(&config);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own));
    Ok(Arc::new(config))
}

/// The text, which may be a key.
fn read(pem: &Pem) -> Result<Arc<Zeroizing<Vec<u8>>>, String> {
    match pem {
        Pem::Text(text, _) => Ok(text.clone()),
        Pem::File(file) => {
            let text = files::read(file, MAX_PEM);
            let text = text.map_err(|error| format!("{pem} can't be read: {}", reason(&error)))?;
            Ok(Arc::new(Zeroizing::new(text)))
        }
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(pem)?).collect();
    let found = found.map_err(|error| format!("the certificates in {pem} can't be read: {error}"))?;
    match found.is_empty() {
        true => Err(format!("there is no certificate in {pem}; expected PEM: -----BEGIN CERTIFICATE-----")),
        false => Ok(found),
    }
}

fn roots_of(pem: &Pem) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| format!("a certificate in {pem} is not valid: {error}"))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // The stores of real systems contain certificates that can't be parsed. Only servers that use those fail.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err("this system trusts no certificate authority; name a file: tls = { ca = \"ca.pem\" }".to_owned()),
        false => Ok(roots),
    }
}

fn trust_words(tls: &SourceTls) -> TrustWords {
    let file = tls.ca.as_ref().map(|_| "the file `ca`");
    TrustWords { file, how: "name its file with tls = { ca = \"ca.pem\" }", plain: "its URL" }
}

/// How a user says which authorities are trusted, for messages.
pub(crate) struct TrustWords {
    /// The file that is named, such as "the file `ca`"; `None`: the authorities of the system are trusted.
    pub(crate) file: Option<&'static str>,
    /// How to name one.
    pub(crate) how: &'static str,
    /// How to use no TLS.
    pub(crate) plain: &'static str,
}

/// Why there is no connection by TLS, and what to do.
pub(crate) fn explain(error: &io::Error, host: &str, words: &TrustWords) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let wrong = match tls {
        Some(rustls::Error::InvalidCertificate(wrong)) => wrong,
        Some(rustls::Error::InvalidMessage(_)) => {
            return format!("the server does not use TLS: write http:// in {}", words.plain);
        }
        Some(_) | None => return format!("the TLS handshake failed: {error}"),
    };
    match (wrong, words.file) {
        (CertificateError::UnknownIssuer, Some(file)) => {
            format!("no certificate authority in {file} signed the server's certificate")
        }
        (CertificateError::UnknownIssuer, None) => {
            format!("an unknown authority signed the server's certificate: {}", words.how)
        }
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, _) => {
            "the server's certificate has expired".to_owned()
        }
        (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }, _) => {
            format!("the server's certificate is not for {host}")
        }
        (other, _) if is_of_authority(other) => format!(
            "the server's certificate is that of an authority, as `openssl req -x509` makes it: make it with `-addext \
             basicConstraints=critical,CA:FALSE`, or sign another one with it; then {}",
            words.how
        ),
        (other, _) => format!("the server's certificate is not valid: {other}"),
    }
}
