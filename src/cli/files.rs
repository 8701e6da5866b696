//! The files that commands read without a server. A command gives up when a file does not answer.

use std::path::Path;

use crate::config::{self, Flags, Loaded, Settings};
use crate::model::Model;
use crate::source::{Problem, reading};

/// Loads all files, as [`config::load`].
pub(super) fn load(settings_file: &Path) -> Result<Loaded, Vec<Problem>> {
    let file = settings_file.to_path_buf();
    within(settings_file, move || config::load(Some(&file), &Flags::default()))?
}

/// Reads the zones again, as [`config::reload`].
pub(super) fn reload(settings_file: &Path, settings: Settings) -> Result<Model, Vec<Problem>> {
    within(settings_file, move || config::reload(&settings))?.map(|(model, _)| model)
}

/// Runs `read` on a thread, and returns its result, or which file does not answer.
pub(super) fn within<T: Send + 'static>(
    settings_file: &Path,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Vec<Problem>> {
    reading::within(settings_file.to_path_buf(), read).map_err(|problem| vec![*problem])
}
