//! The two TLS configurations of probes: one that verifies the certificate of the server, and one that accepts any
//! certificate (`verify = false`). With both the server must prove that it has the key of its certificate, so a broken
//! handshake is always a failure.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
};

use crate::clock;

/// A client that trusts `roots`.
pub(crate) fn verifying(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() {
        Ok(verifier) => {
            let verifier = Arc::new(EitherClock { verifier, steady: clock::steady_unix_seconds });
            builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        // Without a root no certificate is valid.
        Err(_) => builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    };
    without_resumption(config)
}

/// A client that accepts every certificate.
pub(crate) fn unverifying() -> Arc<ClientConfig> {
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let verifier = Arc::new(AnyCertificate { algorithms });
    without_resumption(builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("ring has cipher suites for TLS 1.2 and 1.3, which both are built in")
}

/// Each probe makes a whole handshake. A resumed session would not show that the certificate has expired since.
fn without_resumption(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// A verifier of certificates for which a wrong wall clock is no reason to refuse all of them at once. A certificate
/// must be valid now by the wall clock, or by the clock that nobody can set while the process runs. The first is right
/// after the clock was corrected, the second after it was set wrong.
#[derive(Debug)]
struct EitherClock {
    verifier: Arc<WebPkiServerVerifier>,
    /// Unix seconds.
    steady: fn() -> f64,
}

impl ServerCertVerifier for EitherClock {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |now| self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let refused = match verify(now) {
            Err(refused) if is_about_time(&refused) => refused,
            other => return other,
        };
        let steady = Duration::try_from_secs_f64((self.steady)()).unwrap_or_default();
        verify(UnixTime::since_unix_epoch(steady)).map_err(|again| if is_about_time(&again) { refused } else { again })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Whether a certificate is refused because of the time.
fn is_about_time(error: &Error) -> bool {
    let Error::InvalidCertificate(reason) = error else { return false };
    matches!(
        reason,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// A verifier that accepts every certificate.
#[derive(Debug)]
struct AnyCertificate {
    /// The signatures that the handshake may use.
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    /// 2030-06-01 00:00:00 UTC, when the certificate of the test is valid.
    const VALID: u64 = 1_906_502_400;
    const YEAR: u64 = 366 * 86_400;

    #[test]
    fn a_certificate_is_refused_for_its_time_only_if_both_clocks_agree() {
        let (mut params, key) = (CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(vec!["www.svc.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2030, 12, 31));
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let verify = |wall: u64, steady: fn() -> f64, name: &'static str| {
            let verifier = EitherClock { verifier: verifier.clone(), steady };
            let (name, now) =
                (ServerName::try_from(name).unwrap(), UnixTime::since_unix_epoch(Duration::from_secs(wall)));
            verifier.verify_server_cert(leaf.der(), &[], &name, &[], now).map(drop)
        };
        let name = "www.svc.example";
        let valid: fn() -> f64 = || VALID as f64;
        let late: fn() -> f64 = || (VALID + YEAR) as f64;
        let early: fn() -> f64 = || 0.0;
        for (wall, steady) in [(VALID, late), (VALID, early), (VALID + YEAR, valid), (VALID - YEAR, valid)] {
            assert_eq!(verify(wall, steady, name), Ok(()), "{wall}");
        }
        assert!(is_about_time(&verify(VALID + YEAR, late, name).unwrap_err()));
        assert!(is_about_time(&verify(VALID - YEAR, early, name).unwrap_err()));
        assert!(
            !is_about_time(&verify(VALID + YEAR, valid, "other.example").unwrap_err()),
            "the name counts all the same"
        );
    }
}
