//! Reads a file of secrets, whose text is wiped from memory when it has been parsed.

use std::io::{Read, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::source::{Place, calls, files};

/// A file that the settings name, or that has its default name.
#[derive(Debug, Clone)]
pub(super) struct NamedFile {
    /// Its path as a user would type it.
    pub(super) shown: PathBuf,
    /// Where the settings name it; `None`: they don't.
    pub(super) place: Option<Place>,
}

impl NamedFile {
    /// Forgets the line that names it: the settings file may have changed.
    pub(super) fn without_line(self) -> NamedFile {
        NamedFile { place: self.place.map(|place| Place::start_of(&place.file.shown)), ..self }
    }
}

/// The text of a file of secrets, and the rights of the file.
pub(super) struct SecretText {
    /// Up to the limit of [`read`] and one octet more. Wiped when it is dropped.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// The permission bits.
    pub(super) mode: u32,
}

/// Octets of the buffer after the expected length. With at least 32 the standard library reads into the buffer only,
/// and needs no second one, which would not be wiped.
const SPARE: usize = 64;

/// Reads a file. Of a file over `limit` octets it reads one octet more than that.
pub(super) fn read(path: &Path, limit: u64) -> Result<SecretText> {
    let (file, found) = files::open(path)?;
    let mut text = Zeroizing::new(Vec::with_capacity(found.len().min(limit) as usize + SPARE));
    calls::listed(path, || file.take(limit + 1).read_to_end(&mut text))?;
    Ok(SecretText { text, mode: found.permissions().mode() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_into_one_buffer_and_no_further_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets");
        for length in [0, 1, 31, 32, 4096, 5000] {
            std::fs::write(&path, vec![b'x'; length]).unwrap();
            let SecretText { text, mode } = read(&path, 4096).unwrap();
            assert_eq!((text.len(), mode & 0o170_000), (length.min(4097), 0o100_000));
            assert_eq!(text.capacity(), length.min(4096) + SPARE, "a buffer that grew has left its text behind");
        }
    }
}
