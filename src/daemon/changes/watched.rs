//! Which files are watched, and which changes are reasons to load them again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{self, Loaded};
use crate::daemon::poll::PolledPaths;
use crate::source::files;

/// What is watched, as absolute paths.
#[derive(Debug, Clone)]
pub(crate) struct WatchedFiles {
    /// The directory whose every file counts.
    pub(super) zones: PathBuf,
    /// Files elsewhere that count.
    pub(super) files: Vec<PathBuf>,
    /// The state directory, which the server itself writes: nothing in it counts.
    pub(super) own: Option<PathBuf>,
    /// The same for polling.
    pub(super) polled: PolledPaths,
}

impl WatchedFiles {
    /// The files that were loaded, and the settings file.
    pub(crate) fn of(loaded: &Loaded, settings_file: Option<&Path>) -> WatchedFiles {
        let operators = &loaded.settings.operators;
        let read = loaded.files.iter().map(PathBuf::as_path);
        let files: Vec<&Path> = settings_file.into_iter().chain(operators.token_file.as_deref()).chain(read).collect();
        let zones = &loaded.settings.zones_dir;
        let polled = PolledPaths {
            zones: files::absolute(zones),
            files: files.iter().map(|file| files::absolute(file)).collect(),
        };
        WatchedFiles {
            zones: absolute(zones),
            files: files.into_iter().map(absolute).collect(),
            own: operators.state_dir.as_deref().map(absolute),
            polled,
        }
    }

    /// All files and directories that a reload reads.
    pub(crate) fn all_read(&self) -> Vec<PathBuf> {
        self.polled.all()
    }

    /// Whether a change of this path, which is a directory if `is_dir`, is a reason to load again. A file in the zones
    /// directory that is no zone's is none: a log there would cause a load, and the load would write to the log.
    pub(super) fn is_reason(&self, path: &Path, is_dir: bool) -> bool {
        let is_own = self.own.as_deref().is_some_and(|own| path.starts_with(own) && !self.zones.starts_with(own));
        let is_read = self.files.iter().any(|file| file == path);
        is_link(path) || ((self.is_of_zones(path, is_dir) || is_read) && !is_own && is_lasting(path))
    }

    /// Whether it is the zones directory, a directory in it, or a file of a zone.
    fn is_of_zones(&self, path: &Path, is_dir: bool) -> bool {
        let makes_zone = || path.file_name().and_then(|name| name.to_str()).is_some_and(config::makes_zone);
        path.starts_with(&self.zones) && (path == self.zones || is_dir || makes_zone())
    }

    /// Every directory that has a watched file, once.
    pub(super) fn dirs(&self) -> BTreeSet<&Path> {
        self.files.iter().filter_map(|file| file.parent()).chain([&*self.zones]).collect()
    }
}

/// Absolute with links resolved, in the form that the watcher reports; unchanged where it doesn't exist.
fn absolute(path: &Path) -> PathBuf {
    let of_dir = path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    match (of_dir.and_then(|dir| files::canonical(dir).ok()), path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => files::canonical(path).unwrap_or_else(|_| path.to_path_buf()),
    }
}

/// Whether it is no temporary file of an editor.
fn is_lasting(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !(name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp"))
}

/// The link that Kubernetes swaps to change all files of a mount at once.
fn is_link(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "..data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_where_files_are_read_and_not_where_we_write() {
        let watched = WatchedFiles {
            zones: "/etc/portolan".into(),
            files: vec!["/etc/portolan/portolan.toml".into(), "/run/secrets/tokens".into()],
            own: Some("/etc/portolan/state".into()),
            polled: PolledPaths::default(),
        };
        for (path, expected) in [
            ("/etc/portolan/svc.example.zone", true),
            ("/etc/portolan/.svc.example.zone.swp", false),
            ("/etc/portolan/svc.example.zone~", false),
            ("/etc/portolan/portolan.log", false),
            ("/etc/portolan/other.toml", false),
            ("/etc/portolan/svc.example.zone.bak", false),
            ("/etc/portolan/svc.example.policy.toml", true),
            ("/etc/portolan", true),
            ("/etc/portolan/state", false),
            ("/etc/portolan/state/overrides.json", false),
            ("/run/secrets/tokens", true),
            ("/run/secrets/other", false),
            ("/run/secrets/..data", true),
        ] {
            assert_eq!(watched.is_reason(Path::new(path), false), expected, "{path}");
        }
        assert!(watched.is_reason(Path::new("/etc/portolan/nets"), true), "a directory of the zones");
        let dirs: Vec<_> = watched.dirs().into_iter().map(|dir| dir.display().to_string()).collect();
        assert_eq!(dirs, ["/etc/portolan", "/run/secrets"]);
    }
}
