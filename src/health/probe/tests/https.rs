//! https: which certificates are accepted. The tests of tls use the authority of these tests too.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A certificate authority for tests.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Authority {
    pub(super) fn named(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).expect("signed").der().clone()).expect("a root");
        Authority { issuer: Issuer::new(params, key), roots }
    }

    /// A server for `name`. `shape` may change its certificate.
    pub(super) async fn server(&self, name: &str, shape: impl FnOnce(&mut CertificateParams)) -> SocketAddr {
        let acceptor = self.acceptor(name, &[], shape);
        serve(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                read_request(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.read_u8().await;
            }
        })
        .await
    }

    /// An acceptor with a certificate for `name` that speaks `protocols` (ALPN).
    pub(super) fn acceptor(
        &self,
        name: &str,
        protocols: &[&[u8]],
        shape: impl FnOnce(&mut CertificateParams),
    ) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        shape(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a pair");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    async fn probe(&self, host: Option<&str>, to: SocketAddr) -> Result<Duration, Failure> {
        self.probe_by(CertificateRule { verify: true, min_days: 0 }, host, to).await
    }

    async fn probe_by(&self, rule: CertificateRule, host: Option<&str>, to: SocketAddr) -> Result<Duration, Failure> {
        let spec = HttpSpec { host: host.map(str::to_owned), body: Some("ok".to_owned()), ..spec() };
        self.measure(ProbeKind::Https(spec, rule), to, AMPLE).await.result
    }

    /// Makes a probe that trusts only this authority.
    pub(super) async fn measure(&self, kind: ProbeKind, to: SocketAddr, timeout: Duration) -> Measurement {
        let clients = ProbeClients::trusting(SourceAddresses::default(), self.roots.clone());
        probe(&clients, &check(kind, to, timeout), &Rtt::default()).await
    }
}

async fn failure_text(authority: &Authority, host: Option<&str>, to: SocketAddr) -> String {
    authority.probe(host, to).await.expect_err("this probe fails").to_string()
}

#[tokio::test]
async fn a_certificate_for_the_host_or_the_address_is_accepted() {
    let authority = Authority::named("ours");
    let named = authority.server("www.svc.example", |_| {}).await;
    assert!(authority.probe(Some("www.svc.example"), named).await.is_ok());
    assert!(authority.probe(Some("www.svc.example:8443"), named).await.is_ok());
    let addressed = authority.server("127.0.0.1", |_| {}).await;
    assert!(authority.probe(None, addressed).await.is_ok());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not() {
    let authority = Authority::named("ours");
    let to = authority.server("other.example", |_| {}).await;
    assert_eq!(failure_text(&authority, Some("www.svc.example"), to).await, "certificate is not for www.svc.example");
    assert_eq!(failure_text(&authority, None, to).await, "certificate is not for the probed address");
}

#[tokio::test]
async fn an_expired_certificate_and_one_that_is_not_valid_yet_are_not() {
    let authority = Authority::named("ours");
    let name = "www.svc.example";
    let old = authority.server(name, |params| params.not_after = date_time_ymd(2020, 1, 1)).await;
    assert_eq!(failure_text(&authority, Some(name), old).await, "certificate expired");
    let early = authority.server(name, |params| params.not_before = date_time_ymd(2500, 1, 1)).await;
    assert_eq!(failure_text(&authority, Some(name), early).await, "certificate not valid yet");
}

#[tokio::test]
async fn a_certificate_from_an_unknown_issuer_is_not() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let to = theirs.server("www.svc.example", |_| {}).await;
    assert_eq!(failure_text(&ours, Some("www.svc.example"), to).await, "certificate from an unknown issuer");
}

#[tokio::test]
async fn a_server_without_tls_is_a_failure() {
    let authority = Authority::named("ours");
    let to = serve(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read_u8().await;
    })
    .await;
    assert!(failure_text(&authority, None, to).await.starts_with("TLS handshake failed: "));
}

#[tokio::test]
async fn without_verification_any_certificate_is_accepted() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let to = theirs.server("other.example", |params| params.not_after = date_time_ymd(2020, 1, 1)).await;
    let rule = CertificateRule { verify: false, min_days: 0 };
    assert!(ours.probe_by(rule, Some("www.svc.example"), to).await.is_ok());
}

#[tokio::test]
async fn the_monitor_can_require_that_the_certificate_stays_valid() {
    let authority = Authority::named("ours");
    let name = "www.svc.example";
    let to = authority.server(name, |params| params.not_after = date_time_ymd(2999, 1, 1)).await;
    let rule = |min_days| CertificateRule { verify: true, min_days };
    assert!(authority.probe_by(rule(3650), Some(name), to).await.is_ok());
    let failure = authority.probe_by(rule(1_000_000), Some(name), to).await.expect_err("it is not valid for that long");
    assert!(failure.to_string().ends_with(", and min_days is 1000000"), "{failure}");
}
