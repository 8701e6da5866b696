//! Words that are no names.

/// The words of `on_empty`. No endpoint or pool may have one of them as its name.
pub const ON_EMPTY_WORDS: [&str; 4] = ["last_good", "all", "static", "nodata"];
