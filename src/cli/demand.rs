//! The file of `--demand`: the queries a second of client nets, for `simulate` and `drill`.

use std::path::Path;

use crate::cli::Failure;
use crate::control::simulate::{DemandLine, parse_demand};
use crate::source::{files, reason, text_without_mark};

/// The longest demand file in octets: as much as a server accepts, with comments.
const MAX_DEMAND: u64 = 16 << 20;

/// Reads a demand file. An error names the file.
pub(super) fn read(file: &Path) -> Result<Vec<DemandLine>, Failure> {
    let shown = file.display();
    let unreadable = |why: String| Failure(format!("can't read {shown}: {why}"));
    let octets = files::read_or_wait(file, MAX_DEMAND).map_err(|error| unreadable(reason(&error)))?;
    let text = String::from_utf8(octets).map_err(|_| unreadable("it is not text in UTF-8".to_owned()))?;
    parse_demand(text_without_mark(&text)).map_err(|why| Failure(format!("{shown}: {why}")))
}
