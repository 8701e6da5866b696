//! Who this node is for the NATS servers. The file is read again at each connection, so that new credentials need no
//! restart.

use std::io;
use std::path::{Path, PathBuf};

use async_nats::Auth;
use nkeys::KeyPair;
use url::Url;
use zeroize::Zeroizing;

use crate::source::files;

/// Largest file (judgment: a JWT with many permissions has some KiB).
const MAX_FILE: u64 = 64 << 10;
/// The lines around the JWT and the key of a `.creds` file.
const JWT: [&str; 2] = ["-----BEGIN NATS USER JWT-----", "------END NATS USER JWT------"];
const SEED: [&str; 2] = ["-----BEGIN USER NKEY SEED-----", "------END USER NKEY SEED------"];

/// Where the credentials come from.
#[derive(Clone)]
pub enum Credentials {
    /// Nobody in particular.
    None,
    /// A user and a password, from the address of the NATS server.
    Password(String, Zeroizing<String>),
    /// A file: a `.creds` file (JWT and key), an nkey seed, or a line `USER PASSWORD`.
    File(PathBuf),
}

impl Credentials {
    /// Those of a file, if there is one, else those of the first address that has a user.
    pub fn of(file: Option<PathBuf>, servers: &[Url]) -> Credentials {
        let of_url = |url: &Url| {
            let password = Zeroizing::new(decoded(url.password().unwrap_or_default()));
            (!url.username().is_empty()).then(|| Credentials::Password(decoded(url.username()), password))
        };
        match file {
            Some(file) => Credentials::File(file),
            None => servers.iter().find_map(of_url).unwrap_or(Credentials::None),
        }
    }

    /// What to send to a NATS server that sent `nonce`; the text says why that can't be known.
    pub(super) async fn answer(self, nonce: Vec<u8>) -> Result<Auth, String> {
        match self {
            Credentials::None => Ok(Auth::new()),
            Credentials::Password(user, password) => Ok(by_password(&user, &password)),
            Credentials::File(path) => {
                let shown = path.display().to_string();
                let read = tokio::task::spawn_blocking(move || read(&path)).await.map_err(|error| error.to_string())?;
                let text = read.map_err(|error| format!("{shown}: {error}"))?;
                auth(&text, &nonce).map_err(|why| format!("{shown}: {why}"))
            }
        }
    }
}

/// A part of an address without its percent-encoding (RFC 3986, 2.1).
fn decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) => {
                octets.push(octet);
                rest = &after[2..];
            }
            None => {
                octets.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let octets = files::read(path, MAX_FILE)?;
    String::from_utf8(octets).map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8 text")
    })
}

fn by_password(user: &str, password: &str) -> Auth {
    let mut auth = Auth::new();
    (auth.username, auth.password) = (Some(user.to_owned()), Some(password.to_owned()));
    auth
}

/// The credentials that are written in a file, with the nonce signed where they have a key.
fn auth(text: &str, nonce: &[u8]) -> Result<Auth, &'static str> {
    let mut auth = Auth::new();
    if let Some(jwt) = between(text, JWT) {
        let seed = between(text, SEED).ok_or("has a JWT and no key: copy the whole file that `nsc` wrote")?;
        (auth.jwt, auth.signature) = (Some(jwt.to_owned()), Some(sign(seed, nonce)?.1));
        return Ok(auth);
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    match words[..] {
        [seed] if seed.starts_with("SU") => {
            let (key, signature) = sign(seed, nonce)?;
            (auth.nkey, auth.signature) = (Some(key), Some(signature));
            Ok(auth)
        }
        [user, password] => Ok(by_password(user, password)),
        _ => Err("has no credentials: a .creds file, an nkey seed (SU...), or a line USER PASSWORD"),
    }
}

/// The text between two lines.
fn between<'t>(text: &'t str, [begin, end]: [&str; 2]) -> Option<&'t str> {
    let (_, rest) = text.split_once(begin)?;
    let (inner, _) = rest.split_once(end)?;
    Some(inner.trim()).filter(|inner| !inner.is_empty())
}

/// The public key of a seed, and the nonce signed by it.
fn sign(seed: &str, nonce: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    let pair = KeyPair::from_seed(seed).map_err(|_| "has a key that is not an nkey seed of a user")?;
    let signature = pair.sign(nonce).map_err(|_| "has a key that can't sign")?;
    Ok((pair.public_key(), signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> String {
        match auth(text, b"nonce") {
            Ok(auth) => format!(
                "jwt {:?} user {:?} key {} signed {}",
                auth.jwt,
                auth.username,
                auth.nkey.is_some(),
                auth.signature.is_some()
            ),
            Err(why) => why.to_owned(),
        }
    }

    #[test]
    fn files_have_a_jwt_with_its_key_or_a_seed_or_a_password() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let creds = format!("{}\neyJ0\n{}\n\nNOTE\n{}\n{seed}\n{}\n", JWT[0], JWT[1], SEED[0], SEED[1]);
        assert_eq!(outcome(&creds), "jwt Some(\"eyJ0\") user None key false signed true");
        assert_eq!(outcome(&format!("# the vantage\n{seed}\n")), "jwt None user None key true signed true");
        assert_eq!(outcome("vantage  s3cret\n"), "jwt None user Some(\"vantage\") key false signed false");
        for wrong in ["", "one", "a b c", "SUNOTASEED", &creds.replace(SEED[0], "")] {
            assert!(outcome(wrong).starts_with("has "), "{wrong}: {}", outcome(wrong));
        }
        let Auth { nkey, signature, .. } = auth(&seed, b"nonce").unwrap();
        assert_eq!(nkey, Some(pair.public_key()));
        pair.verify(b"nonce", &signature.unwrap()).expect("the nonce is signed");
    }

    #[test]
    fn a_file_that_is_too_large_or_no_text_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vantage.creds");
        for (content, is_read) in [(vec![b'a'; 1 << 16], true), (vec![b'a'; (1 << 16) + 1], false), (vec![0xFF], false)]
        {
            std::fs::write(&file, content).unwrap();
            assert_eq!(read(&file).is_ok(), is_read);
        }
        assert!(read(dir.path()).is_err(), "a directory");
    }

    #[test]
    fn the_address_of_a_server_may_have_a_user_and_a_password() {
        let of = |urls: &[&str]| {
            let urls: Vec<Url> = urls.iter().map(|url| Url::parse(url).unwrap()).collect();
            match Credentials::of(None, &urls) {
                Credentials::Password(user, password) => Some((user, password.to_string())),
                Credentials::None | Credentials::File(_) => None,
            }
        };
        assert_eq!(of(&["nats://h:4222"]), None);
        assert_eq!(of(&["nats://h", "nats://v%40x:a+b%2Fc@h:4222"]), Some(("v@x".into(), "a+b/c".into())));
    }
}
