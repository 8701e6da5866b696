//! The scanner of the `domain` crate, which receives a master file line by line, and a count of these lines. Its errors
//! number lines from the first that it received. The scanner of an included file is a clone, so that number is not the
//! line in the file: the count makes it usable.

use bytes::Bytes;
use domain::base::Name as ScannedName;
use domain::base::iana::Class;
use domain::zonefile::inplace::{Entry, Zonefile};

/// The scanner with its origin, its last owner and its TTL. An included file is read with a clone.
#[derive(Clone)]
pub(super) struct Feed {
    scanner: Zonefile,
    lines: usize,
}

impl Feed {
    /// A scanner that has received nothing; relative names are under `origin`.
    pub(super) fn new(origin: ScannedName<Bytes>) -> Feed {
        let mut scanner = Zonefile::new();
        scanner.set_default_class(Class::IN);
        scanner.set_origin(origin);
        Feed { scanner, lines: 0 }
    }

    /// The current origin.
    pub(super) fn origin(&self) -> ScannedName<Bytes> {
        self.scanner.origin().unwrap_or_else(|_| ScannedName::root_bytes())
    }

    /// Sets another origin.
    pub(super) fn set_origin(&mut self, origin: ScannedName<Bytes>) {
        self.scanner.set_origin(origin);
    }

    /// How many lines the scanner has received.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Scans a line, which ends with its line feed. A line that is refused changes nothing.
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
