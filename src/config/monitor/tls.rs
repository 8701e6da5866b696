//! `tls`: a handshake. And the keys of all types that use TLS.

use crate::config::keys::{KeyGroup as _, WrongText, boolean, integer, keys, text, wrong};
use crate::config::monitor::probing::{Probing, body};
use crate::config::monitor::{Definition, Group, PortRule};
use crate::model::monitor::bounds::{MAX_MIN_DAYS, MAX_TEXT};
use crate::model::{CertificateRule, ProbeKind, TlsSpec};

/// Days that a tls monitor wants a certificate to have left by default: two of the three weeks that remain when the
/// renewal of a 90-day certificate has failed for a week.
const USUAL_MIN_DAYS: u32 = 14;

keys! {
    /// The key for the name of the server.
    Host {
        /// the Host header of http and https; the name for SNI, which the certificate must have; the authority of grpc
        host: String = text("\"www.svc.example\"").parsed(host), note "the probed address";
    }
}

keys! {
    /// The keys for the server's certificate.
    Certificate {
        /// the certificate must be valid now, be for `host`, and come from an authority that the system trusts (or
        /// from one in `SSL_CERT_FILE`). `false`: every certificate is accepted. For grpc with `tls = true`
        verify: bool = boolean(), default true;
        /// the probe fails when the certificate ends in fewer days than this, 0 to 3650. All endpoints with the same
        /// certificate then fail at the same time: use it where somebody gets an alarm, or with a suitable `on_empty`
        min_days: u32 = integer(0..=MAX_MIN_DAYS.into()), note "14 for tls, 0 for the others and without `verify`";
    }
}

impl Certificate {
    /// As the model has it; `usual` days where `min_days` is missing and the certificate is verified.
    pub(super) fn rule(&self, usual: u32) -> CertificateRule {
        let usual = if *self.verify { usual } else { 0 };
        CertificateRule { verify: *self.verify, min_days: self.min_days.as_ref().map_or(usual, |days| days.value) }
    }
}

pub(super) const TLS: Definition = Definition {
    port: PortRule::Usual(443),
    can_hold: true,
    ..Definition::probe(
        &[Group::of::<Probing>(), Group::of::<Host>(), Group::of::<Certificate>()],
        |fields, problems| {
            let host = Host::take(fields, problems).host.map(|at| at.value);
            let certificate = Certificate::take(fields, problems).rule(USUAL_MIN_DAYS);
            body(fields, Some(ProbeKind::Tls(TlsSpec { host, certificate })), problems)
        },
    )
};

fn host(written: &str) -> Result<String, WrongText> {
    let is_plain = written.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b));
    if !written.is_empty() && is_plain && written.len() <= MAX_TEXT {
        return Ok(written.to_owned());
    }
    let hint = "write `host = \"www.svc.example\"`, without `http://` and without a path";
    Err(wrong(format!("\"{written}\" is not a host"), hint))
}
