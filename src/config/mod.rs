//! How files are read: settings, policy files and master files, from Spec (as written) to [`crate::model::Model`]
//! (valid). Every problem is collected, with its place and what to write instead; none is half-applied. `daemon` and
//! `cli` call [`load`] and [`reload`]; nobody else reads files of the user.

mod certificate;
mod client_lists;
mod clients;
mod fields;
mod guard;
mod interfaces;
mod log;
mod manual;
mod mmdb;
mod net_files;
mod node;
mod notes;
mod operators;
mod problem;
mod regions;
mod schema;
mod settings;
mod source;
mod spec;
mod validate;
mod zonefile;
mod zones;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use certificate::{Certificate, CertificateError, Tls};
pub use clients::ClientSettings;
pub use guard::Guard;
pub use log::LogFormat;
pub use notes::notes;
pub use operators::{Holder, Operators, Role, Tokens};
pub(crate) use problem::did_you_mean;
pub use problem::{Label, Problem, Severity, to_human, to_json};
pub use schema::{SchemaOf, schema};
pub use settings::{Flags, Listen, Settings};
pub(crate) use source::{text_without_mark, without_mark};

use crate::model::Model;
use manual::Section;
use problem::Problems;

/// Everything that `serve` needs.
#[derive(Debug)]
pub struct Loaded {
    /// Where this node stands and what it listens on.
    pub settings: Settings,
    /// What the zones say.
    pub model: Model,
    /// What is hardly meant, sorted by file and line.
    pub warnings: Vec<Problem>,
    /// Further files that all this was made from, such as files of nets and databases: absolute paths, sorted, to be watched.
    pub files: Vec<PathBuf>,
}

/// Loads settings and zones as `serve` would. With an error anywhere nothing is loaded, and everything found in any
/// file comes back, warnings too, sorted by file and line. Without a file only the environment and the flags count.
pub fn load(settings_file: Option<&Path>, flags: &Flags) -> Result<Loaded, Vec<Problem>> {
    load_after(None, settings_file, flags)
}

/// As [`load`], and what `before` was made of isn't decoded and compiled again where it is the same: databases are large.
pub fn load_after(before: Option<&Model>, settings_file: Option<&Path>, flags: &Flags) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let Some(settings) = settings::read(settings_file, settings::environment(), flags, &mut problems) else {
        return Err(problems.into_sorted());
    };
    let (model, files) = read(&settings, before, &mut problems);
    match problems.errors() {
        0 => Ok(Loaded { settings, model, warnings: problems.into_sorted(), files }),
        _ => Err(problems.into_sorted()),
    }
}

/// The format of the log as the settings choose it, whatever else is wrong with them: their problems are logged in it.
pub fn log_format(settings_file: Option<&Path>, flags: &Flags) -> Option<LogFormat> {
    settings::read(settings_file, settings::environment(), flags, &mut Problems::default())?.log
}

/// Reads the zones again, under settings as they were read at the start: the new model and its warnings, or all problems.
pub fn reload(settings: &Settings) -> Result<(Model, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    let (model, _) = read(settings, None, &mut problems);
    match problems.errors() {
        0 => Ok((model, problems.into_sorted())),
        _ => Err(problems.into_sorted()),
    }
}

/// The zones under these settings, with every client placed, and the further files that were read.
fn read(settings: &Settings, before: Option<&Model>, problems: &mut Problems) -> (Model, Vec<PathBuf>) {
    let (mut model, mut files) = zones::read(settings, problems);
    problems.about(Section::Clients, |problems| {
        clients::place(settings, &mut model, before, &mut files, problems);
    });
    (model, files)
}
