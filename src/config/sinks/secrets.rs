//! The file with the secrets of a webhook: a line `whsec_BASE64` for each, as Standard Webhooks has it. No message
//! shows a secret.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use data_encoding::{BASE64, BASE64_NOPAD};
use ring::hmac;
use zeroize::Zeroizing;

use crate::config::secret_file::{self, SecretText};
use crate::source::{At, Problems, Source, reason, without_mark};

/// What each secret begins with.
const PREFIX: &[u8] = b"whsec_";
/// Largest file in octets (judgment: some secrets with comments).
const MAX_FILE: u64 = 64 << 10;
/// Most secrets (judgment: a new one and an old one while it is replaced; each makes a signature of each event).
const MAX_SECRETS: usize = 4;
/// Length of a secret in octets (Standard Webhooks, "Signature scheme": 24 to 64).
const MIN_LENGTH: usize = 24;
const MAX_LENGTH: usize = 64;

/// What to do about a missing key.
pub(super) const HINT: &str =
    "write `secret_file = \"webhook.secret\"`, a file with `whsec_` and what `openssl rand -base64 32` prints";
const LINE: &str = "write `whsec_` and what `openssl rand -base64 32` prints";

/// The keys that sign the events of a webhook: one at least.
#[derive(Clone)]
pub struct SigningSecrets(Arc<[hmac::Key]>);

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl SigningSecrets {
    /// Reads a file of secrets. It blocks. An error says what is wrong.
    pub fn read(path: &Path) -> Result<SigningSecrets, String> {
        let shown = path.display();
        let SecretText { text, mode: _ } =
            secret_file::read(path, MAX_FILE).map_err(|error| format!("can't read {shown}: {}", reason(&error)))?;
        let lines = parse(without_mark(&text));
        match lines.iter().find_map(|(_, line)| line.as_ref().err()) {
            Some(why) => Err(format!("{shown}: {why}")),
            None => SigningSecrets::of(lines).ok_or_else(|| format!("{shown}: there is no secret in this file")),
        }
    }

    /// The secrets of lines that can be used. `None` without one.
    fn of(lines: Vec<(usize, Result<Secret, &'static str>)>) -> Option<SigningSecrets> {
        let secrets = lines.into_iter().filter_map(|(_, line)| line.ok());
        let keys: Vec<hmac::Key> = secrets.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret)).collect();
        (!keys.is_empty()).then(|| SigningSecrets(keys.into()))
    }

    /// The keys.
    pub fn keys(&self) -> &[hmac::Key] {
        &self.0
    }

    /// The secret with these octets, for tests.
    #[cfg(test)]
    pub(crate) fn of_octets(octets: &[&[u8]]) -> SigningSecrets {
        SigningSecrets(octets.iter().map(|octets| hmac::Key::new(hmac::HMAC_SHA256, octets)).collect())
    }
}

type Secret = Zeroizing<Vec<u8>>;

/// The secret of each line that has one, or why it can't be used, with the offset of the line.
fn parse(text: &[u8]) -> Vec<(usize, Result<Secret, &'static str>)> {
    if text.len() as u64 > MAX_FILE {
        return vec![(0, Err("this file has more than 64 KiB"))];
    }
    let mut start = 0;
    let mut found = Vec::new();
    for line in text.split(|octet| *octet == b'\n') {
        let at = start;
        start += line.len() + 1;
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let secret = if found.len() < MAX_SECRETS { secret(line) } else { Err("there are more than 4 secrets") };
        found.push((at, secret));
        if found.len() > MAX_SECRETS {
            break;
        }
    }
    found
}

fn secret(line: &[u8]) -> Result<Secret, &'static str> {
    let encoded = line.strip_prefix(PREFIX).ok_or("a secret begins with `whsec_`")?;
    let decoded = BASE64.decode(encoded).or_else(|_| BASE64_NOPAD.decode(encoded));
    let secret = Zeroizing::new(decoded.map_err(|_| "what follows `whsec_` is not base64")?);
    match secret.len() {
        0 => Err("nothing follows `whsec_`"),
        1..MIN_LENGTH => Err("a secret has at least 24 octets: a shorter one can be guessed"),
        MIN_LENGTH..=MAX_LENGTH => Ok(secret),
        _ => Err("a secret has at most 64 octets"),
    }
}

/// Checks the file `shown`, which is `written` in the settings.
pub(super) fn check(written: &At<String>, shown: &Path, problems: &mut Problems) {
    let SecretText { text, mode } = match secret_file::read(shown, MAX_FILE) {
        Ok(read) => read,
        Err(error) => {
            let problem = problems.error(&written.place, format!("can't read {}: {}", shown.display(), reason(&error)));
            problem.hint(format!("make the file, mode 600: {LINE}"));
            return;
        }
    };
    let text = without_mark(&text);
    let source = Source::secret(shown, text);
    if mode & 0o077 != 0 {
        problems
            .warning(&source.place(0), "other users than the owner can read or change this file of secrets")
            .hint(format!("chmod 600 {}", shown.display()));
    }
    let lines = parse(text);
    for (at, line) in &lines {
        if let Err(why) = line {
            problems.error(&source.place(*at), *why).hint(LINE);
        }
    }
    if lines.is_empty() {
        problems.error(&source.place(0), "there is no secret in this file").hint(LINE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("webhook.secret");
        std::fs::write(&path, text).unwrap();
        let read = SigningSecrets::read(&path).map(|secrets| secrets.keys().len());
        read.map_err(|why| why.replace(&format!("{}: ", path.display()), ""))
    }

    #[test]
    fn a_file_has_one_secret_or_several() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(read(secret), Ok(1));
        assert_eq!(read(&format!("# new\n  {secret}\r\n\n{secret}\n")), Ok(2));
        assert_eq!(read(&format!("whsec_{}", BASE64_NOPAD.encode(&[7; 32]))), Ok(1), "without padding");
        for length in [24, 64] {
            assert_eq!(read(&format!("whsec_{}", BASE64.encode(&vec![7; length]))), Ok(1), "{length}");
        }
        for (text, why) in [
            ("", "there is no secret in this file"),
            ("# none\n", "there is no secret in this file"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a secret begins with `whsec_`"),
            ("whsec_", "nothing follows `whsec_`"),
            ("whsec_YWJjZA", "a secret has at least 24 octets: a shorter one can be guessed"),
            (
                &*format!("whsec_{}", BASE64.encode(&[7; 23])),
                "a secret has at least 24 octets: a shorter one can be guessed",
            ),
            ("whsec_!!", "what follows `whsec_` is not base64"),
            (&*format!("whsec_{}", BASE64.encode(&[7; 65])), "a secret has at most 64 octets"),
            (&*format!("{secret}\n").repeat(5), "there are more than 4 secrets"),
        ] {
            assert_eq!(read(text), Err(why.to_owned()), "{text}");
        }
        assert!(SigningSecrets::read(Path::new("/nowhere")).unwrap_err().starts_with("can't read /nowhere"));
    }
}
