//! Polling: comparing the files with their last state every few seconds, for changes that the system doesn't report.
//! Examples are a link that is replaced somewhere above a file, a directory that was moved away and back, a file on a
//! network, or a system whose watches are exhausted. It only finds that something differs; reading the files finds
//! what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config;
use crate::daemon::stamp::Stamp;
use crate::model::Moment;
use crate::source::files::{self, Listing};

/// How often the files are polled: soon enough for a person who waits, and a few hundred `stat`s cost nothing.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files to poll, by absolute paths in which links are not resolved.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PolledPaths {
    /// The zones directory: every file that makes or may make a zone counts.
    pub(crate) zones: PathBuf,
    /// Further files.
    pub(crate) files: Vec<PathBuf>,
}

/// The state of each path.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

impl PolledPaths {
    /// The zones directory, its files, and the further files.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        let of_zones = zone_files(&self.zones).into_keys();
        [self.zones.clone()].into_iter().chain(of_zones).chain(self.files.iter().cloned()).collect()
    }

    fn stamps(&self) -> Stamps {
        let mut stamps = zone_files(&self.zones);
        stamps.extend(self.files.iter().map(|file| (file.clone(), Stamp::of(file))));
        stamps
    }
}

/// The files of the zones directory; the directory itself where it can't be read.
fn zone_files(dir: &Path) -> Stamps {
    // Of too many files the last ones are not polled. Loading them reports it.
    let Ok(Listing { names, .. }) = files::list(dir, files::MAX_ENTRIES, config::makes_zone) else {
        return Stamps::from([(dir.to_path_buf(), None)]);
    };
    let paths = names.into_iter().map(|name| dir.join(name));
    paths.map(|path| (path.clone(), Stamp::of(&path))).collect()
}

/// The last state of the files, and when they changed and were read.
#[derive(Debug, Default)]
pub(crate) struct FilePoll {
    last: Mutex<LastLook>,
    /// Nanoseconds of [`Moment`], 0 for never.
    changed: AtomicU64,
    read: AtomicU64,
}

/// What was polled last. Looking at files may block, so nobody has the lock meanwhile.
#[derive(Debug, Default)]
struct LastLook {
    paths: PolledPaths,
    stamps: Stamps,
    /// How often this was replaced: so that an older look doesn't replace a newer one.
    replaced: u64,
}

impl FilePoll {
    /// Polls these files from now on. The last state of files that stay is retained: they may have changed
    /// since they were read.
    pub(crate) fn turn_to(&self, looked: PolledPaths) {
        loop {
            let (before, mut stamps, replaced) = {
                let last = self.last();
                (last.paths.clone(), last.stamps.clone(), last.replaced)
            };
            if before.zones != looked.zones {
                stamps = looked.stamps();
            } else {
                let is_zone_file = |path: &Path| path == looked.zones || path.parent() == Some(&*looked.zones);
                let files: std::collections::HashSet<&PathBuf> = looked.files.iter().collect();
                stamps.retain(|path, _| is_zone_file(path) || files.contains(path));
                for file in &looked.files {
                    if !stamps.contains_key(file) {
                        stamps.insert(file.clone(), Stamp::of(file));
                    }
                }
            }
            if self.replace(looked.clone(), stamps, replaced, || {}) {
                return;
            }
        }
    }

    /// The files are about to be read: their changes until now are no reason to read them again.
    pub(crate) fn will_be_read(&self, now: impl Fn() -> Moment) {
        loop {
            let (paths, replaced) = self.paths();
            let stamps = paths.stamps();
            if self.replace(paths, stamps, replaced, || note(&self.read, now())) {
                return;
            }
        }
    }

    /// Replaces the last state, and calls `with` before anybody can compare with it; false if somebody else has
    /// replaced it since `replaced`.
    fn replace(&self, paths: PolledPaths, stamps: Stamps, replaced: u64, with: impl Fn()) -> bool {
        let mut last = self.last();
        let is_latest = last.replaced == replaced;
        if is_latest {
            *last = LastLook { paths, stamps, replaced: replaced + 1 };
            with();
        }
        is_latest
    }

    fn paths(&self) -> (PolledPaths, u64) {
        let last = self.last();
        (last.paths.clone(), last.replaced)
    }

    /// The system reported a change.
    pub(crate) fn note_change(&self, now: Moment) {
        note(&self.changed, now);
    }

    /// Polls once; whether something differs from the last time.
    pub(crate) fn look(&self, now: impl Fn() -> Moment) -> bool {
        let (paths, replaced) = self.paths();
        let stamps = paths.stamps();
        let mut last = self.last();
        // If somebody else has looked meanwhile, the next look finds what differs from that.
        let differs = last.replaced == replaced && stamps != last.stamps;
        if differs {
            last.stamps = stamps;
            last.replaced += 1;
            // The time is read with the lock: another thread may be about to read the files.
            note(&self.changed, now());
        }
        differs
    }

    /// Whether one of the files was emptied at most `secs` before `now`, Unix seconds.
    pub(crate) fn is_being_written(&self, now: f64, secs: f64) -> bool {
        self.paths().0.stamps().values().flatten().any(|stamp| stamp.was_just_emptied(now, secs))
    }

    /// Whether something changed since the last reading began.
    pub(crate) fn is_news(&self) -> bool {
        self.changed.load(Ordering::Acquire) > self.read.load(Ordering::Acquire)
    }

    fn last(&self) -> MutexGuard<'_, LastLook> {
        // A panic leaves the last state whole, at worst an old one.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(time: &AtomicU64, now: Moment) {
    time.fetch_max(now.from_first().as_nanos() as u64, Ordering::AcqRel);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_start(Duration::from_secs(secs))
    }

    /// A release `name` of settings and zones below `dir`.
    fn release(dir: &Path, name: &str) {
        fs::create_dir_all(dir.join(name).join("zones")).unwrap();
        fs::write(dir.join(name).join("portolan.toml"), "region = \"here\"\n").unwrap();
        fs::write(dir.join(name).join("zones/a.zone"), "").unwrap();
    }

    fn looked(dir: &Path) -> PolledPaths {
        PolledPaths {
            zones: dir.join("current/zones"),
            files: vec![dir.join("current/portolan.toml"), dir.join("tokens")],
        }
    }

    #[test]
    fn a_file_that_was_just_emptied_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        release(dir, "current");
        fs::write(dir.join("tokens"), "some").unwrap();
        fs::write(dir.join("current/zones/a.zone"), "some").unwrap();
        let poll = FilePoll::default();
        poll.turn_to(looked(dir));
        let now = || crate::clock::unix_seconds() + 0.01;
        assert!(!poll.is_being_written(now(), 60.0));
        for file in ["tokens", "current/zones/a.zone"] {
            fs::write(dir.join(file), "").unwrap();
            assert!(poll.is_being_written(now(), 60.0), "{file}");
            assert!(!poll.is_being_written(now() + 60.0, 60.0), "it is meant");
            fs::write(dir.join(file), "more").unwrap();
        }
        assert!(!poll.is_being_written(now(), 60.0));
    }

    #[test]
    fn a_change_that_was_read_is_no_news() {
        let poll = FilePoll::default();
        assert!(!poll.is_news(), "nothing changed");
        poll.note_change(at(1));
        assert!(poll.is_news());
        poll.will_be_read(|| at(2));
        assert!(!poll.is_news(), "read since");
        poll.note_change(at(3));
        assert!(poll.is_news(), "changed while it was read");
    }

    #[test]
    fn every_change_is_seen_once_also_behind_a_link_that_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        release(dir, "r1");
        release(dir, "r2");
        symlink("r1", dir.join("current")).unwrap();
        let poll = FilePoll::default();
        poll.turn_to(looked(dir));
        let steps: [(&str, &dyn Fn()); 8] = [
            ("a file of the directory is written", &|| fs::write(dir.join("r1/zones/a.zone"), "; new").unwrap()),
            ("one is added", &|| fs::write(dir.join("r1/zones/b.policy.toml"), "").unwrap()),
            ("one is removed", &|| fs::remove_file(dir.join("r1/zones/a.zone")).unwrap()),
            ("the settings are written", &|| fs::write(dir.join("r1/portolan.toml"), "").unwrap()),
            ("a file appears that was not there", &|| fs::write(dir.join("tokens"), "").unwrap()),
            ("the link is replaced", &|| {
                symlink("r2", dir.join("next")).unwrap();
                fs::rename(dir.join("next"), dir.join("current")).unwrap();
            }),
            ("the directory is moved away", &|| fs::rename(dir.join("r2/zones"), dir.join("away")).unwrap()),
            ("and back", &|| fs::rename(dir.join("away"), dir.join("r2/zones")).unwrap()),
        ];
        for (moment, (what, change)) in (1..).zip(steps) {
            assert!(!poll.look(|| at(moment)), "before {what}");
            change();
            assert!(poll.look(|| at(moment)), "{what}");
            assert!(poll.is_news(), "{what}");
        }
        fs::write(dir.join("r2/zones/notes.txt"), "").unwrap();
        fs::write(dir.join("r2/zones/.a.zone.swp"), "").unwrap();
        assert!(!poll.look(|| at(20)), "no zone");
    }

    #[test]
    fn a_change_that_was_read_is_not_seen_again_and_one_since_then_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        release(dir, "current");
        let poll = FilePoll::default();
        poll.turn_to(looked(dir));
        fs::write(dir.join("current/zones/a.zone"), "; new").unwrap();
        poll.will_be_read(|| at(1));
        assert!(!poll.look(|| at(2)));
        // It changes while it is read, and what is read names another file.
        fs::write(dir.join("current/zones/a.zone"), "; newer").unwrap();
        poll.turn_to(PolledPaths { files: vec![dir.join("current/zones/x.inc")], ..looked(dir) });
        assert!(poll.look(|| at(3)) && poll.is_news());
    }
}
