//! TLS below https probes: the certificate must be valid now, for the name that is asked for, and from someone trusted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::health::probe::{Failure, ProbeClients};

/// A connector that trusts `roots`. Each probe does the whole handshake: a resumed session would not show that the
/// certificate has expired meanwhile.
pub(super) fn connector(roots: RootCertStore) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("ring has cipher suites for TLS 1.2 and 1.3, which both are built in");
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Shakes hands over `stream` as a client of `host` (a name or an address, perhaps with a port), or of the address
/// itself where there is none.
pub(super) async fn handshake(
    clients: &ProbeClients,
    host: Option<&str>,
    to: SocketAddr,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let name = server_name(host, to)?;
    let connector = clients.tls().await?;
    connector.connect(name, stream).await.map_err(|error| explain(&error, host))
}

fn server_name(host: Option<&str>, to: SocketAddr) -> Result<ServerName<'static>, Failure> {
    let Some(host) = host else { return Ok(ServerName::from(to.ip())) };
    let bare = without_port(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| Failure::Vantage(format!("{bare:?} is no TLS server name")))
}

/// `host` of `host`, `host:port`, `[v6]` and `[v6]:port`; an IPv6 address without brackets stays as it is.
fn without_port(host: &str) -> &str {
    if let Some((v6, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return v6;
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        Some(_) | None => host,
    }
}

fn explain(error: &io::Error, host: Option<&str>) -> Failure {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match Failure::from_io(error) {
            // Connected already, so it is not about this host.
            Failure::Vantage(_) => Failure::Tls(format!("TLS handshake failed: {error}")),
            known => known,
        };
    };
    let rustls::Error::InvalidCertificate(wrong) = tls else {
        return Failure::Tls(format!("TLS handshake failed: {tls}"));
    };
    Failure::Tls(match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => match host {
            Some(host) => format!("certificate is not for {}", without_port(host)),
            None => "certificate is not for the probed address".to_owned(),
        },
        CertificateError::UnknownIssuer => "certificate from an unknown issuer".to_owned(),
        CertificateError::Revoked => "certificate revoked".to_owned(),
        other => format!("certificate not valid: {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_name_is_the_host_without_its_port() {
        for (host, bare) in [
            ("www.svc.example", "www.svc.example"),
            ("www.svc.example:8443", "www.svc.example"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(without_port(host), bare);
        }
    }
}
