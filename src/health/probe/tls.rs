//! The tls probe, and the TLS handshake of https and grpc probes. By default the certificate must be valid now, for the
//! requested name, and from a trusted authority. A monitor can require that it stays valid for some days.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::parse_x509_certificate;

use crate::clock;
use crate::health::probe::attempt::RequestPermit;
use crate::health::probe::closing::{ProbeStream, SERVER_CLOSE_WAIT, close_in_background};
use crate::health::probe::{Failure, ProbeClients, tcp};
use crate::model::{CertificateRule, Moment, TlsSpec};

const SECS_A_DAY: i64 = 86_400;

/// Connects to `to`, makes the handshake and closes, by `until` at the latest. Returns the time of both handshakes.
pub(super) async fn probe(
    clients: &ProbeClients,
    spec: &TlsSpec,
    (to, until): (SocketAddr, Moment),
    permit: RequestPermit,
) -> Result<Duration, Failure> {
    let (stream, began) = tcp::connect_for_request(clients, to, &permit).await?;
    let stream = ProbeStream::new(stream);
    let stream = handshake(clients, spec.host.as_deref(), spec.certificate, &[], to, stream).await?;
    let took = clock::now().since(began);
    close_in_background(until, close_session(stream));
    Ok(took)
}

/// Sends close_notify (RFC 8446, 6.1). Servers then close the connection.
async fn close_session(mut stream: TlsStream<ProbeStream>) {
    stream.get_mut().1.send_close_notify();
    if stream.flush().await.is_ok() {
        let mut dropped = [0; 512];
        let ended = async { while stream.read(&mut dropped).await.is_ok_and(|octets| octets > 0) {} };
        // If the server has not closed by then, the probe does.
        let _ = tokio::time::timeout(SERVER_CLOSE_WAIT, ended).await;
    }
    let _ = stream.shutdown().await;
}

/// Makes the TLS handshake over `stream` and checks the certificate. `host` is a name or an address, perhaps with a
/// port; without it, the address of `to` is the name. `protocols` are offered by ALPN.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    clients: &ProbeClients,
    host: Option<&str>,
    rule: CertificateRule,
    protocols: &[&[u8]],
    to: SocketAddr,
    stream: S,
) -> Result<TlsStream<S>, Failure> {
    let name = server_name(host, to)?;
    let mut config = ClientConfig::clone(clients.tls(rule.verify).await?);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(|error| failure_of(&error, host))?;
    if rule.min_days > 0 {
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| Failure::Tls("no certificate was shown".to_owned()))?;
        // The earlier of the two clocks: one that was set forward must not make all endpoints down.
        let now = clock::unix_seconds().min(clock::steady_unix_seconds());
        check_days(leaf, rule.min_days, now as i64)?;
    }
    Ok(stream)
}

/// Checks that the certificate is valid for `min_days` from `now` on. `now` is in seconds since 1970 UTC.
fn check_days(leaf: &[u8], min_days: u32, now: i64) -> Result<(), Failure> {
    let Ok((_, certificate)) = parse_x509_certificate(leaf) else {
        return Err(Failure::Tls("the certificate can't be read".to_owned()));
    };
    let left = certificate.validity().not_after.timestamp().saturating_sub(now);
    if left >= i64::from(min_days) * SECS_A_DAY {
        return Ok(());
    }
    let days = left / SECS_A_DAY;
    Err(Failure::Tls(match days {
        _ if left < 0 => "certificate expired".to_owned(),
        0 => format!("certificate expires within a day, and min_days is {min_days}"),
        1 => format!("certificate expires in 1 day, and min_days is {min_days}"),
        _ => format!("certificate expires in {days} days, and min_days is {min_days}"),
    }))
}

fn server_name(host: Option<&str>, to: SocketAddr) -> Result<ServerName<'static>, Failure> {
    let Some(host) = host else { return Ok(ServerName::from(to.ip())) };
    let bare = without_port(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| Failure::Vantage(format!("{bare:?} is no TLS server name")))
}

/// The host in `host`, `host:port`, `[v6]` and `[v6]:port`. An IPv6 address without brackets is returned unchanged.
fn without_port(host: &str) -> &str {
    if let Some((v6, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return v6;
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        Some(_) | None => host,
    }
}

/// Whether the certificate of a server is that of an authority. `openssl req -x509` makes such certificates by default.
pub(crate) fn is_of_authority(wrong: &CertificateError) -> bool {
    // The error is one of a library below, which the text names.
    format!("{wrong:?}").contains("CaUsedAsEndEntity")
}

fn failure_of(error: &io::Error, host: Option<&str>) -> Failure {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match Failure::from_io(error) {
            // The connection is open, so the failure is not that of this vantage.
            Failure::Vantage(_) => Failure::Tls(format!("TLS handshake failed: {error}")),
            known => known,
        };
    };
    let rustls::Error::InvalidCertificate(reason) = tls else {
        return Failure::Tls(format!("TLS handshake failed: {tls}"));
    };
    Failure::Tls(match reason {
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
        other if is_of_authority(other) => "certificate is self-signed, or that of an authority".to_owned(),
        other => format!("certificate not valid: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_must_have_its_days_left() {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.not_after = date_time_ymd(2030, 1, 31);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.self_signed(&key).expect("signed");
        // 2030-01-31 00:00:00 UTC
        let end = 1_896_048_000;
        let result = |min_days, left: i64| match check_days(leaf.der(), min_days, end - left) {
            Ok(()) => String::new(),
            Err(failure) => failure.to_string(),
        };
        assert_eq!(result(14, 14 * SECS_A_DAY), "");
        assert_eq!(result(14, 14 * SECS_A_DAY - 1), "certificate expires in 13 days, and min_days is 14");
        assert_eq!(result(2, SECS_A_DAY), "certificate expires in 1 day, and min_days is 2");
        assert_eq!(result(1, 7), "certificate expires within a day, and min_days is 1");
        assert_eq!(result(1, -1), "certificate expired");
        assert!(check_days(b"no certificate", 1, 0).is_err());
    }

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
