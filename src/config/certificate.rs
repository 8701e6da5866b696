//! `[tls]`: a certificate chain and its key in two PEM files. Checks that the key belongs to the certificate, and warns
//! when the certificate has expired or expires soon. The settings are read through this module; the daemon calls
//! [`Tls::read`] when the files change.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use crate::clock;
use crate::config::keys::{OrDefault, keys, text};
use crate::source::{
    At, Place, Problem, Problems, SideFile, calls,
    files::{self, absolute, path_of},
    reason, without_mark,
};

/// The files of the certificate and its key, and their content when they were read.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The file of the chain, the server's own certificate first; absolute.
    pub cert: PathBuf,
    /// The file of the key, PKCS#8, PKCS#1 or SEC1; absolute.
    pub key: PathBuf,
    /// Their content; `None` if it can't be used.
    pub certificate: Option<Certificate>,
}

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain and the key in the form of the TLS library.
    pub certified: Arc<CertifiedKey>,
    /// When the certificate expires, seconds since 1970 UTC.
    pub not_after: i64,
}

/// Days before a certificate expires from which there is a warning (like monitors of type tls: automatic renewal
/// happens a month before).
const SHORT_DAYS: f64 = 14.0;

/// Why a pair of files can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateError {
    file: File,
    message: String,
    hint: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Cert,
    Key,
}

impl Tls {
    /// The files of the certificate and of its key.
    pub fn files(&self) -> [PathBuf; 2] {
        [self.cert.clone(), self.key.clone()]
    }

    /// Reads both files again.
    pub fn read(&self) -> Result<Certificate, CertificateError> {
        read_pair(&self.cert, &self.key)
    }
}

impl Certificate {
    /// Whether it has expired at this time.
    pub fn is_expired(&self, unix_secs: f64) -> bool {
        self.not_after as f64 <= unix_secs
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

impl std::error::Error for CertificateError {}

keys! {
    /// `[tls]`.
    TlsKeys in Settings {
        /// PEM: the certificate chain, the server's own certificate first. A changed file is used within seconds
        cert: String = text("\"cert.pem\""), default "cert.pem".to_owned();
        /// PEM: the certificate's key, without a password. `check` warns of a key that everybody on the host can read,
        /// and of a certificate that ends within 14 days
        key: String = text("\"key.pem\""), default "key.pem".to_owned();
    }
}

/// Reads the files of `[tls]`, which are relative to `base` unless a flag names them.
pub(super) fn read(keys: &TlsKeys, base: &Path, problems: &mut Problems) -> Tls {
    let at = |key: &OrDefault<String>| At {
        value: key.value.clone(),
        place: key.place.clone().unwrap_or_else(|| keys.name.place.clone()),
    };
    let (cert, key) = (at(&keys.cert), at(&keys.key));
    let (cert_shown, key_shown) = (path_of(&cert, base), path_of(&key, base));
    let certificate =
        problems.in_side_file(SideFile::Certificate, |problems| match read_pair(&cert_shown, &key_shown) {
            Ok(certificate) => {
                warn_of_expiry(&certificate, &cert.place, &cert_shown, problems);
                warn_of_readable_key(&key.place, &key_shown, problems);
                Some(certificate)
            }
            Err(CertificateError { file, message, hint }) => {
                let place = match file {
                    File::Cert => &cert.place,
                    File::Key => &key.place,
                };
                problems.error(place, message).hint(hint);
                None
            }
        });
    Tls { cert: absolute(&cert_shown), key: absolute(&key_shown), certificate }
}

fn warn_of_expiry(certificate: &Certificate, place: &Place, shown: &Path, problems: &mut Problems) {
    let now = clock::unix_seconds();
    if certificate.is_expired(now) {
        let days = (now as i64 - certificate.not_after) / 86_400;
        let ago = match days {
            0 => "today".to_string(),
            1 => "yesterday".to_string(),
            days => format!("{days} days ago"),
        };
        let problem: &mut Problem = problems.warning(place, format!("{}: expired {ago}", shown.display()));
        problem.hint("clients that check certificates refuse it: renew it");
        return;
    }
    let left = (certificate.not_after as f64 - now) / 86_400.0;
    if left < SHORT_DAYS {
        let ends = match left as i64 {
            0 => "within a day".to_string(),
            1 => "in 1 day".to_string(),
            days => format!("in {days} days"),
        };
        let problem: &mut Problem = problems.warning(place, format!("{}: ends {ends}", shown.display()));
        problem.hint("renew it; a new file is used within seconds");
    }
}

/// Warns of a key that everybody on this host can read.
fn warn_of_readable_key(place: &Place, shown: &Path, problems: &mut Problems) {
    let mode = calls::listed(shown, || std::fs::metadata(shown)).map_or(0, |found| found.permissions().mode());
    if mode & 0o007 != 0 {
        let message = format!("{}: everybody on this host can read the key", shown.display());
        problems.warning(place, message).hint(format!("chmod 640 {}, or 600", shown.display()));
    }
}

fn read_pair(cert: &Path, key: &Path) -> Result<Certificate, CertificateError> {
    let chain = chain(cert)?;
    let not_after = match chain.first().map(|first| parse_x509_certificate(first)) {
        Some(Ok((_, parsed))) => parsed.validity().not_after.timestamp(),
        Some(Err(_)) | None => {
            let message = format!("{}: what is in PEM here is no X.509 certificate", cert.display());
            return Err(CertificateError {
                file: File::Cert,
                message,
                hint: "give the chain as the authority sent it",
            });
        }
    };
    let of_key = |message: String, hint| CertificateError { file: File::Key, message, hint };
    let der = private_key(key)?;
    let certified = CertifiedKey::from_der(chain, der, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => of_key(
            format!("{}: not the key of the certificate in {}", key.display(), cert.display()),
            "name the two files that were made together, the server's own certificate first in its file",
        ),
        other => of_key(
            format!("{}: the key can't be used: {other}", key.display()),
            "use ECDSA (P-256, P-384), Ed25519, or RSA of 2048 bits or more",
        ),
    })?;
    Ok(Certificate { certified: Arc::new(certified), not_after })
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    const HINT: &str = "it must hold the chain in PEM: -----BEGIN CERTIFICATE----- and so on";
    let wrong = |message: String, hint| CertificateError { file: File::Cert, message, hint };
    let text = bytes(file).map_err(|message| wrong(message, "name the certificate's file in [tls] cert"))?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(chain) if chain.is_empty() => Err(wrong(format!("{}: no certificate in it", file.display()), HINT)),
        Ok(chain) => Ok(chain),
        Err(_) => Err(wrong(format!("{}: not PEM", file.display()), HINT)),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    const HINT: &str = "it must hold the key in PEM without a password: -----BEGIN PRIVATE KEY----- and so on";
    let wrong = |message: String, hint| CertificateError { file: File::Key, message, hint };
    let text = bytes(file).map_err(|message| wrong(message, "name the key's file in [tls] key"))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(format!("{}: no private key in it", file.display()), HINT),
        _ => wrong(format!("{}: not PEM", file.display()), HINT),
    })
}

/// Largest file of a chain or a key, in octets (judgment: a hundred certificates).
const MAX_PEM: u64 = 1 << 20;

fn bytes(file: &Path) -> Result<Vec<u8>, String> {
    files::read(file, MAX_PEM)
        .map(|text| without_mark(&text).to_vec())
        .map_err(|error| format!("can't read {}: {}", file.display(), reason(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    /// A directory with files of these contents.
    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    /// A certificate whose time ends with the year, and its key.
    fn made(last_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["ns1.example".to_string()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_pair_is_read_with_its_end() {
        let (cert, key) = made(2001);
        let dir = dir(&[("c", &format!("made by hand\n{cert}{cert}")), ("k", &key)]);
        let certificate = read_pair(&dir.path().join("c"), &dir.path().join("k")).unwrap();
        assert_eq!(certificate.certified.cert.len(), 2);
        assert_eq!(certificate.not_after, 1_009_756_800, "2001-12-31");
        assert!(certificate.is_expired(1_009_756_800.0) && !certificate.is_expired(1_009_756_799.0));
    }

    #[test]
    fn an_expired_certificate_is_served_with_a_warning_at_its_place() {
        let (cert, key) = made(2001);
        let settings = "region = \"here\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n[zones]\ndir = \".\"\n";
        let dir = dir(&[("c", &cert), ("k", &key), ("portolan.toml", settings)]);
        let loaded = crate::config::load(Some(&dir.path().join("portolan.toml")), &Default::default()).unwrap();
        let Some(tls) = loaded.settings.tls else { panic!("there is [tls]") };
        assert_eq!((tls.cert, tls.key), (dir.path().join("c"), dir.path().join("k")));
        let warnings: Vec<_> = loaded.warnings.iter().filter(|warning| warning.line == 3).collect();
        let [warning] = warnings[..] else { panic!("{:?}", loaded.warnings) };
        assert_eq!(warning.column, 8);
        assert!(warning.message.contains("c: expired ") && warning.message.ends_with(" days ago"), "{warning}");
    }

    #[test]
    fn a_key_for_everybody_and_an_end_that_is_near_are_warned_of() {
        let soon = clock::unix_seconds() as i64 + 5 * 86_400 + 3600;
        let (cert, key) = made(2100);
        let dir = dir(&[("c", &cert), ("k", &key)]);
        let place = Place::start_of(Path::new("portolan.toml"));
        let warnings = |not_after: i64| {
            let mut problems = Problems::default();
            let read = read_pair(&dir.path().join("c"), &dir.path().join("k")).unwrap();
            warn_of_expiry(&Certificate { not_after, ..read }, &place, Path::new("c"), &mut problems);
            problems.into_sorted().into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        let day = 86_400;
        assert_eq!(warnings(soon), ["c: ends in 5 days"]);
        assert_eq!(warnings(soon - 5 * day), ["c: ends within a day"]);
        assert!(warnings(soon + 9 * day).is_empty());
        for (mode, expected) in [(0o644, 1), (0o604, 1), (0o640, 0), (0o600, 0)] {
            let key = dir.path().join("k");
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            let mut problems = Problems::default();
            warn_of_readable_key(&place, &key, &mut problems);
            assert_eq!(problems.into_sorted().len(), expected, "{mode:o}");
        }
    }

    #[test]
    fn each_way_to_be_wrong_names_its_file_and_says_what_to_do() {
        let ((cert, key), (_, other)) = (made(2100), made(2100));
        let broken = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let files = [
            ("cert", &*cert),
            ("key", &key),
            ("other", &other),
            ("broken", broken),
            ("hollow", hollow),
            ("text", "hello"),
        ];
        let dir = dir(&files);
        for (cert, key, file, expected) in [
            ("none", "key", File::Cert, "can't read DIR/none: No such file or directory"),
            ("text", "key", File::Cert, "DIR/text: no certificate in it"),
            ("key", "key", File::Cert, "DIR/key: no certificate in it"),
            ("broken", "key", File::Cert, "DIR/broken: not PEM"),
            ("hollow", "key", File::Cert, "DIR/hollow: what is in PEM here is no X.509 certificate"),
            ("cert", "none", File::Key, "can't read DIR/none: No such file or directory"),
            ("cert", "cert", File::Key, "DIR/cert: no private key in it"),
            ("cert", "other", File::Key, "DIR/other: not the key of the certificate in DIR/cert"),
        ] {
            let error = read_pair(&dir.path().join(cert), &dir.path().join(key)).unwrap_err();
            let message = error.message.replace(&dir.path().display().to_string(), "DIR");
            assert_eq!((error.file, &*message), (file, expected));
            assert!(!error.hint.is_empty());
        }
    }
}
