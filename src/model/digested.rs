//! A value that many share, with its digest. Policy files may have long texts (the headers and the body of a request,
//! the arguments of a program) and thousands of checks that use them, so a check must not have its own copy, and to
//! hash or compare two checks must not cost what the texts have.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// A shared value: clones refer to one copy. Hashes as its digest, 32 octets, and is equal to a value with the same
/// digest: nobody can find two values with one SHA-256. The digest is computed once, when it is made.
#[derive(Clone)]
pub struct Digested<T>(Arc<Inner<T>>);

struct Inner<T> {
    digest: [u8; SHA256_OUTPUT_LEN],
    value: T,
}

impl<T: Hash> Digested<T> {
    /// Takes as long as the value is.
    pub fn new(value: T) -> Digested<T> {
        let mut hasher = Sha256::default();
        value.hash(&mut hasher);
        Digested(Arc::new(Inner { digest: hasher.digest(), value }))
    }
}

impl<T> Digested<T> {
    /// The SHA-256 of what the value hashes. Another release may have another one for the same value.
    pub fn digest(&self) -> &[u8; SHA256_OUTPUT_LEN] {
        &self.0.digest
    }

    /// Whether both refer to one copy.
    pub fn is_same_copy(&self, other: &Digested<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Hash> From<T> for Digested<T> {
    fn from(value: T) -> Digested<T> {
        Digested::new(value)
    }
}

impl<T> Deref for Digested<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> PartialEq for Digested<T> {
    fn eq(&self, other: &Digested<T>) -> bool {
        self.is_same_copy(other) || self.0.digest == other.0.digest
    }
}

impl<T> Eq for Digested<T> {}

impl<T> Hash for Digested<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // All of it: the digest of a value that contains this one must be as safe as this one.
        state.write(&self.0.digest);
    }
}

impl<T: fmt::Debug> fmt::Debug for Digested<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

/// SHA-256 as a hasher. Values that are not equal hash different octets: `derive(Hash)` writes the lengths of lists,
/// the ends of texts and the variants of enums.
struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256(Context::new(&SHA256))
    }
}

impl Sha256 {
    fn digest(self) -> [u8; SHA256_OUTPUT_LEN] {
        let mut octets = [0; SHA256_OUTPUT_LEN];
        octets.copy_from_slice(self.0.finish().as_ref());
        octets
    }
}

impl Hasher for Sha256 {
    fn write(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finish();
        digest.as_ref().iter().take(8).fold(0, |hash, octet| hash << 8 | u64::from(*octet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckKey, HttpSpec, Monitor, ProbeKind, ProbeTarget};

    /// Counts the octets that are hashed.
    #[derive(Default)]
    struct Counter(usize);

    impl Hasher for Counter {
        fn write(&mut self, octets: &[u8]) {
            self.0 += octets.len();
        }

        fn finish(&self) -> u64 {
            self.0 as u64
        }
    }

    fn http(headers: usize, length: usize, last: &str) -> CheckKey {
        let mut headers: Vec<_> = (0..headers).map(|nth| (format!("X-{nth}"), "h".repeat(length))).collect();
        headers.push(("Z".to_owned(), last.to_owned()));
        let (path, host, statuses, body, redirects) = ("/".to_owned(), None, vec![200], None, 0);
        let spec = HttpSpec { path, host, headers, statuses, body, redirects };
        let target = ProbeTarget::Socket(([192, 0, 2, 1], 80).into());
        CheckKey { monitor: Monitor::new(ProbeKind::Http(spec)).into(), target }
    }

    #[test]
    fn a_check_costs_the_same_to_hash_whatever_the_texts_of_its_monitor_are() {
        let cost = |key: &CheckKey| {
            let mut counter = Counter::default();
            key.hash(&mut counter);
            counter.0
        };
        let long = http(32, 4096, "");
        assert_eq!(cost(&long), cost(&http(0, 0, "")));
        assert!(cost(&long) <= 64, "{} octets", cost(&long));
    }

    #[test]
    fn equal_by_content_and_different_by_one_octet() {
        let (one, other) = (http(32, 4096, "a"), http(32, 4096, "a"));
        assert!(!one.monitor.is_same_copy(&other.monitor));
        assert_eq!(one, other);
        assert_ne!(one, http(32, 4096, "b"));
        // The same octets, cut in another way.
        let pair = |a: &str, b: &str| Digested::new(vec![a.to_owned(), b.to_owned()]);
        assert_ne!(pair("ab", "c"), pair("a", "bc"));
        assert_ne!(Digested::new(vec![Some(1_u8), None]), Digested::new(vec![None, Some(1)]));
        let finished = Sha256::default().finish();
        assert_eq!(finished.to_be_bytes(), Sha256::default().digest()[..8]);
    }
}
