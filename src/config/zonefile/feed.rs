//! The scanner of the `domain` crate, which is fed line by line, and what it doesn't say itself: how many lines it has
//! had. Its errors count from its first line, also in a file that another one includes.

use bytes::Bytes;
use domain::base::Name as ScannedName;
use domain::base::iana::Class;
use domain::zonefile::inplace::{Entry, Zonefile};

/// The scanner with its origin, its last owner and its TTL. An included file gets a clone.
#[derive(Clone)]
pub(super) struct Feed {
    scanner: Zonefile,
    lines: usize,
}

impl Feed {
    /// Nothing was fed yet; relative names are under `origin`.
    pub(super) fn new(origin: ScannedName<Bytes>) -> Feed {
        let mut scanner = Zonefile::new();
        scanner.set_default_class(Class::IN);
        scanner.set_origin(origin);
        Feed { scanner, lines: 0 }
    }

    /// The origin in force.
    pub(super) fn origin(&self) -> ScannedName<Bytes> {
        self.scanner.origin().unwrap_or_else(|_| ScannedName::root_bytes())
    }

    /// Sets another origin.
    pub(super) fn set_origin(&mut self, origin: ScannedName<Bytes>) {
        self.scanner.set_origin(origin);
    }

    /// How many lines it has had.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Feeds a line, with its line feed. One that is refused changes nothing.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<Entry>, String> {
        let before = self.scanner.clone();
        self.scanner.extend_from_slice(line);
        match self.scanner.next_entry() {
            Ok(entry) => {
                self.lines += 1;
                Ok(entry)
            }
            Err(error) => {
                self.scanner = before;
                Err(error.to_string())
            }
        }
    }
}
