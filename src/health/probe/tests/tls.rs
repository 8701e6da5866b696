//! tls: which handshakes and certificates are a success.

use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::https::Authority;
use super::*;
use crate::model::{CertificateRule, TlsSpec};

const NAME: &str = "www.svc.example";
const STRICT: CertificateRule = CertificateRule { verify: true, min_days: 14 };
const LAX: CertificateRule = CertificateRule { verify: false, min_days: 0 };

async fn handshake(
    authority: &Authority,
    certificate: CertificateRule,
    to: SocketAddr,
    timeout: Duration,
) -> Measurement {
    let kind = ProbeKind::Tls(TlsSpec { host: Some(NAME.to_owned()), certificate });
    authority.measure(kind, to, timeout).await
}

async fn result_text(authority: &Authority, certificate: CertificateRule, to: SocketAddr) -> String {
    match handshake(authority, certificate, to, AMPLE).await.result {
        Ok(_) => "up".to_owned(),
        Err(failure) => {
            assert!(failure.is_evidence(), "{failure}");
            failure.to_string()
        }
    }
}

#[tokio::test]
async fn name_issuer_and_time_of_a_certificate_are_verified_unless_the_monitor_says_otherwise() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let good = ours.server(NAME, |_| {}).await;
    let expired = ours.server(NAME, |params| params.not_after = date_time_ymd(2020, 1, 1)).await;
    let other = ours.server("other.example", |_| {}).await;
    let stranger = theirs.server(NAME, |_| {}).await;
    let authority = ours.server(NAME, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).await;
    for (to, expected) in [
        (good, "up"),
        (expired, "certificate expired"),
        (other, "certificate is not for www.svc.example"),
        (stranger, "certificate from an unknown issuer"),
        (authority, "certificate is self-signed, or that of an authority"),
    ] {
        assert_eq!(result_text(&ours, STRICT, to).await, expected);
        assert_eq!(result_text(&ours, LAX, to).await, "up", "unverified, {expected}");
    }
}

#[tokio::test]
async fn an_end_that_is_near_is_a_failure_even_without_verification() {
    let authority = Authority::named("ours");
    let to = authority.server(NAME, |_| {}).await;
    let far = CertificateRule { verify: true, min_days: 1_000_000 };
    assert!(result_text(&authority, far, to).await.ends_with(" days, and min_days is 1000000"));
    let expired = authority.server(NAME, |params| params.not_after = date_time_ymd(2020, 1, 1)).await;
    assert_eq!(
        result_text(&authority, CertificateRule { verify: false, min_days: 1 }, expired).await,
        "certificate expired"
    );
}

#[tokio::test]
async fn half_a_handshake_is_silence_and_garbage_is_a_failure() {
    let authority = Authority::named("ours");
    let (store, mut stored) = mpsc::unbounded_channel();
    let silent = serve(move |_, stream| {
        // The test holds the connection open. It is never read.
        let _ = store.send(stream);
        async {}
    })
    .await;
    let measured = handshake(&authority, STRICT, silent, BRIEF).await;
    assert_eq!(measured.result, Err(Failure::TimedOut { after: BRIEF }));
    assert!(stored.recv().await.is_some());
    let garbage = serve(|_, mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        let _ = stream.read_u8().await;
    })
    .await;
    assert!(result_text(&authority, STRICT, garbage).await.starts_with("TLS handshake failed: "));
}
