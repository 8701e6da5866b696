//! The files of the user as texts: reads them from the disk, knows places in them (line and column), and collects the
//! problems that readers find, each with its place and the section of the manual. Does not parse: `masterfile` and
//! `config` do, and both report their problems here.
//!
//! `files` reads one file whose path a user has written, `calls` lists the calls of the file system in progress, and
//! `reading` reads on a thread that can be given up. `texts` has the files of one zone, from the disk or from an
//! earlier version; `wall` decides which files these may be. `place` turns byte offsets into places. `problem`
//! collects, sorts and renders problems; `manual` has the sections that they refer to.

pub(crate) mod calls;
pub(crate) mod files;
mod manual;
mod place;
mod problem;
pub(crate) mod reading;
mod texts;
mod wall;

pub(crate) use manual::ManualSection;
pub(crate) use place::{At, Place, Source, SourceFile, text_without_mark, without_mark};
#[cfg(test)]
pub(crate) use problem::no_more_comparisons;
pub use problem::{Label, Problem, Severity, to_human, to_json};
pub(crate) use problem::{Problems, SideFile, did_you_mean, limit_comparisons, listed, reason, similar};
pub use texts::TextsByPath;
pub(crate) use texts::{Collected, MAX_LOAD, MAX_MASTER, MAX_POLICY, Text, Texts, Unread};
pub(crate) use wall::Wall;
