//! The state directory: small files that survive a restart. A file is written whole beside the old one and put in its
//! place, so that a crash leaves the old or the new. Writing is a task of its own: answers never wait for a disk.

use std::fs::{File, create_dir, create_dir_all, rename};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Writes that wait at a time; a disk that is further behind is told to whoever wants more (judgment).
const MAX_WAITING: usize = 64;

/// Largest file that is read back, in octets: 10,000 overrides of the longest kind take about 15 MB.
const MAX_FILE: u64 = 64 << 20;

/// Where files are kept; without a directory nothing is.
#[derive(Debug)]
pub(crate) struct Store {
    dir: Option<PathBuf>,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    writes: Arc<Writes>,
}

/// How many files were written, and how many could not be.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    counts: [AtomicU64; 2],
}

impl Writes {
    pub(crate) fn ended(&self, is_well: bool) {
        self.counts[usize::from(!is_well)].fetch_add(1, Relaxed);
    }

    /// Those that went well, and those that did not.
    pub(crate) fn counts(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.load(Relaxed))
    }
}

/// One kind of file in the directory: JSON, with the number of its form under `"version"`.
#[derive(Debug)]
pub(crate) struct KeptFile {
    /// What it is called there.
    pub(crate) name: &'static str,
    /// The form that this program reads and writes; another one has another number.
    pub(crate) version: u32,
    /// What is in it, for people: `what operators said of endpoints`.
    pub(crate) holds: &'static str,
}

/// Why a file can't be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) why: String,
    /// What is in it.
    pub(crate) holds: &'static str,
}

impl std::fmt::Display for Unreadable {
    /// With what to do, for who can't do without.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unreadable { path, why, holds } = self;
        let path = path.display();
        write!(f, "{path}: {why}. It holds {holds}: put it right, or move it away to start without")
    }
}

/// All that every form of every file has.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

impl KeptFile {
    /// Reads its text; an error says what is wrong with it.
    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, String> {
        let Form { version } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if version != self.version {
            return Err(format!("this is version {version} of the file, and this program knows {}", self.version));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// A file to write, and whom to tell how it went.
struct Job {
    name: &'static str,
    text: String,
    done: oneshot::Sender<Result<(), String>>,
}

impl Store {
    /// A store in `dir`, which is made when something is first kept. What it is in is made now, and never later.
    pub(crate) fn open(dir: Option<PathBuf>) -> Store {
        let writes = Arc::<Writes>::default();
        let Some(dir) = dir else { return Store { dir: None, jobs: None, writer: None, writes } };
        if let Some(Err(error)) = dir.parent().map(create_dir_all) {
            tracing::warn!(dir = %dir.display(), %error, "the state directory can't be made");
        }
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let writer = tokio::spawn(write_all(dir.clone(), waiting, writes.clone()));
        Store { dir: Some(dir), jobs: Some(jobs), writer: Some(writer), writes }
    }

    /// The counts of what is written, for metrics.
    pub(crate) fn writes(&self) -> Arc<Writes> {
        self.writes.clone()
    }

    /// Where a file is, for people; `None` where nothing is kept.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(name))
    }

    /// What a file says; `None` where there is no such file.
    pub(crate) fn load<T: DeserializeOwned>(&self, file: &KeptFile) -> Result<Option<T>, Unreadable> {
        let kept = match self.read(file.name) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) => file.parse(&text),
            Err(error) => Err(error.to_string()),
        };
        kept.map(Some).map_err(|why| Unreadable {
            path: self.path(file.name).unwrap_or_default(),
            why,
            holds: file.holds,
        })
    }

    fn read(&self, name: &str) -> std::io::Result<Option<String>> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let text = File::open(path).and_then(|file| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_FILE), &mut text)?;
            Ok(text)
        });
        match text {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has a file written; what comes back tells once how it went.
    pub(crate) fn keep<T: Serialize>(&self, file: &KeptFile, kept: &T) -> oneshot::Receiver<Result<(), String>> {
        // Plain data can't fail to serialise.
        let text = serde_json::to_string_pretty(kept).unwrap_or_default() + "\n";
        self.keep_text(file.name, text)
    }

    fn keep_text(&self, name: &'static str, text: String) -> oneshot::Receiver<Result<(), String>> {
        let (done, told) = oneshot::channel();
        let lost = |done: oneshot::Sender<_>, why: &str| {
            // Whoever asked may not want to know.
            let _ = done.send(Err(format!("not kept for the next start: {why}")));
        };
        match &self.jobs {
            None => lost(done, "without a settings file there is no state directory"),
            Some(jobs) => match jobs.try_send(Job { name, text, done }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) => {
                    self.writes.ended(false);
                    lost(job.done, "the disk does not keep up");
                }
            },
        }
        told
    }

    /// The directory, for [`put`].
    pub(crate) fn dir(&self) -> Option<PathBuf> {
        self.dir.clone()
    }

    /// Writes what waits, and ends.
    pub(crate) async fn close(mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer {
            // An error is a panic, which has been printed.
            let _ = writer.await;
        }
    }
}

async fn write_all(dir: PathBuf, mut waiting: mpsc::Receiver<Job>, writes: Arc<Writes>) {
    while let Some(job) = waiting.recv().await {
        let Job { name, text, done } = job;
        let to = dir.clone();
        let written = tokio::task::spawn_blocking(move || write(&to, name, &text, Outlives::Machine)).await;
        let outcome = match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        writes.ended(outcome.is_ok());
        if let Err(error) = &outcome {
            let file = dir.join(name);
            tracing::error!(file = %file.display(), %error, "this file can't be written: a restart would lose the change");
        }
        let told =
            outcome.map_err(|error| format!("not kept for the next start: {}: {error}", dir.join(name).display()));
        let _ = done.send(told);
    }
}

/// What a file has to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlives {
    /// This process only: the kernel writes it out when it likes.
    Process,
    /// The machine, should it stop at once.
    Machine,
}

/// Writes a file that is of no use after the machine has started again: in one step too, but without waiting for the
/// disk. Blocks; nobody else may write that file.
pub(crate) fn put(dir: &Path, file: &KeptFile, text: &str) -> std::io::Result<()> {
    write(dir, file.name, text, Outlives::Process)
}

/// Makes a directory where what it is in is there. Otherwise the configuration was moved away for a moment, and must find
/// its place empty when it comes back.
pub(crate) fn make(dir: &Path) -> std::io::Result<()> {
    match create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a file in one step, without waiting for the disk. Blocks; nobody else may write that file.
pub(crate) fn write_for_process(dir: &Path, name: &str, text: &str) -> std::io::Result<()> {
    write(dir, name, text, Outlives::Process)
}

/// Puts a file in place in one step.
fn write(dir: &Path, name: &str, text: &str, outlives: Outlives) -> std::io::Result<()> {
    make(dir)?;
    let new = dir.join(format!(".{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    if outlives == Outlives::Machine {
        file.sync_all()?;
    }
    rename(&new, dir.join(name))?;
    match outlives {
        Outlives::Process => Ok(()),
        // The name is only on the disk when the directory is.
        Outlives::Machine => File::open(dir)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: KeptFile = KeptFile { name: "a.json", version: 3, holds: "what a test said" };
    const B: KeptFile = KeptFile { name: "b.json", ..A };

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Kept {
        version: u32,
        said: String,
    }

    fn said(word: &str) -> Kept {
        Kept { version: A.version, said: word.into() }
    }

    #[tokio::test]
    async fn what_is_kept_is_read_back_and_the_last_write_counts() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let store = Store::open(Some(dir.clone()));
        assert_eq!(store.load::<Kept>(&A).unwrap(), None);
        assert!(!dir.exists(), "nothing is made before something is kept");
        let first = store.keep(&A, &said("one"));
        let second = store.keep(&A, &said("two"));
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Ok(())));
        assert_eq!(store.writes().counts(), [2, 0]);
        assert_eq!(store.load(&A).unwrap(), Some(said("two")));
        let late = store.keep(&B, &said("three"));
        store.close().await;
        assert_eq!(late.await.unwrap(), Ok(()), "closing writes what waits");
        let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing is left beside them: {names:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_with_what_it_holds_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(dir.path().into()));
        for (text, why) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{\"version\":3,", "EOF while parsing a value at line 1 column 13"),
            ("{\"version\":3,\"said\":\"a\",\"why\":1}", "unknown field `why`"),
            ("{\"version\":7,\"heard\":[]}", "this is version 7 of the file, and this program knows 3"),
            ("\u{fffd}", "expected value at line 1 column 1"),
        ] {
            std::fs::write(dir.path().join("a.json"), text).unwrap();
            let refused = store.load::<Kept>(&A).unwrap_err().to_string();
            let begins = format!("{}: {why}", dir.path().join("a.json").display());
            assert!(refused.starts_with(&begins), "{text:?}: {refused}");
            assert!(refused.ends_with(". It holds what a test said: put it right, or move it away to start without"));
        }
    }

    #[tokio::test]
    async fn a_configuration_that_is_moved_away_finds_its_place_empty() {
        let parent = tempfile::tempdir().unwrap();
        let (conf, away) = (parent.path().join("conf"), parent.path().join("away"));
        let store = Store::open(Some(conf.join("state")));
        assert_eq!(store.keep(&A, &said("one")).await.unwrap(), Ok(()));
        std::fs::rename(&conf, &away).unwrap();
        let told = store.keep(&A, &said("two")).await.unwrap().unwrap_err();
        assert!(told.contains("No such file or directory") && !conf.exists(), "{told}");
        std::fs::rename(&away, &conf).unwrap();
        assert_eq!(store.load(&A).unwrap(), Some(said("one")));
        assert_eq!(store.keep(&A, &said("three")).await.unwrap(), Ok(()));
        std::fs::remove_dir_all(conf.join("state")).unwrap();
        assert_eq!(store.keep(&A, &said("four")).await.unwrap(), Ok(()), "the directory alone is made anew");
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let store = Store::open(Some(dir.path().join("file/state")));
        let told = store.keep(&A, &said("one")).await.unwrap().unwrap_err();
        assert!(told.starts_with("not kept for the next start: ") && told.contains("file/state/a.json"), "{told}");
        assert_eq!(store.writes().counts(), [0, 1]);
        let told = Store::open(None).keep(&A, &said("one")).await.unwrap().unwrap_err();
        assert!(told.contains("without a settings file"), "{told}");
    }
}
