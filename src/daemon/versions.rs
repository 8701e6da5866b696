//! The last good version of each zone in the state directory, so that a restart has it: `zones/ZONE.json` names the
//! version, and the folder beside it holds its files as they were, to be read and compared by people. Written by a task of
//! its own, whole and in one step for each zone; a zone that is no longer served is removed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Standing, TextsByPath, Version, ZoneState};
use crate::daemon::store;
use crate::wire::Name;

/// The directory of the versions, in the state directory.
const DIR: &str = "zones";
/// The form of the files that this program reads and writes.
const FORM: u32 = 1;
/// Largest version that is kept, in octets of all its files (judgment: three million records).
const MAX_VERSION: u64 = 256 << 20;
/// Largest file that names a version, in octets: a path and a name for each of its files.
const MAX_MANIFEST: u64 = 16 << 20;
/// Longest part of a zone's name in the name of a file, in octets: file systems allow 255.
const MAX_STEM: usize = 150;
/// What could not be written is tried again after this (judgment: a disk that was full).
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What a file that names a version says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    zone: String,
    /// The policy file, or the master file of a static zone.
    main: String,
    steered_names: usize,
    /// Unix seconds.
    since: f64,
    folder: String,
    files: Vec<KeptText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptText {
    /// Relative to the zones directory.
    path: PathBuf,
    /// Its name in the folder.
    name: String,
}

/// Writes versions while the server runs.
pub(crate) struct Versions {
    served: watch::Sender<Arc<[ZoneState]>>,
    writer: Option<JoinHandle<()>>,
}

impl Versions {
    /// Keeps the versions of `first`, and of what follows, below the state directory; `None` keeps nothing.
    pub(crate) fn keep(state: Option<PathBuf>, first: Arc<[ZoneState]>) -> Versions {
        let (served, mut changes) = watch::channel(first);
        changes.mark_changed();
        let writer = state.map(|state| tokio::spawn(write_all(state.join(DIR), changes)));
        Versions { served, writer }
    }

    /// These are served now.
    pub(crate) fn turn_to(&self, zones: Arc<[ZoneState]>) {
        self.served.send_replace(zones);
    }

    /// Writes what waits, and ends.
    pub(crate) async fn close(self) {
        drop(self.served);
        if let Some(writer) = self.writer {
            // An error is a panic, which has been printed.
            let _ = writer.await;
        }
    }
}

/// The versions that were kept. What can't be read is left out, with a warning in the log.
pub(crate) fn recall(state: Option<&Path>) -> Vec<ZoneState> {
    let Some(dir) = state.map(|state| state.join(DIR)) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(&dir) else { return Vec::new() };
    let mut manifests: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    manifests.sort();
    let mut zones: Vec<ZoneState> = Vec::new();
    for path in manifests {
        match read(&dir, &path) {
            Ok(version) => {
                let apex = version.apex.clone();
                zones.retain(|zone| zone.apex != apex);
                zones.push(ZoneState { apex, standing: Standing::Current, version: Some(Arc::new(version)) });
            }
            Err(error) => {
                let file = path.display();
                tracing::warn!(%file, %error, "the last good version of a zone can't be read; it is left out");
            }
        }
    }
    zones
}

fn read(dir: &Path, manifest: &Path) -> Result<Version, String> {
    let text = bounded(manifest, MAX_MANIFEST)?;
    let said: Manifest = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if said.version != FORM {
        return Err(format!("this is version {} of the file, and this program knows {FORM}", said.version));
    }
    let apex = Name::parse(&said.zone).map_err(|error| format!("`{}` is no zone: {error}", said.zone))?;
    let (mut texts, mut left) = (TextsByPath::new(), MAX_VERSION);
    for KeptText { path, name } in said.files {
        if [&name, &said.folder].iter().any(|name| name.contains('/') || name.starts_with("..")) {
            return Err(format!("`{name}` is no name of a file"));
        }
        let text = bounded(&dir.join(&said.folder).join(&name), left).map_err(|error| format!("{name}: {error}"))?;
        left -= text.len() as u64;
        texts.insert(path, text.into());
    }
    Ok(Version { apex, main: said.main, steered: said.steered_names, since: said.since, texts })
}

fn bounded(file: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|file| file.take(limit + 1).read_to_end(&mut text));
    read.map_err(|error| error.to_string())?;
    match text.len() as u64 > limit {
        true => Err(format!("it is over {limit} octets")),
        false => Ok(text),
    }
}

async fn write_all(dir: PathBuf, mut changes: watch::Receiver<Arc<[ZoneState]>>) {
    let mut kept = Kept { dir, by_apex: None };
    let mut is_behind = false;
    loop {
        let changed = async {
            match is_behind {
                // What failed is tried again, whether or not anything changed.
                true => tokio::time::timeout(AGAIN_AFTER, changes.changed()).await.unwrap_or(Ok(())),
                false => changes.changed().await,
            }
        };
        if changed.await.is_err() {
            return;
        }
        let zones = changes.borrow_and_update().clone();
        let written = tokio::task::spawn_blocking(move || {
            let is_whole = kept.follow(&zones);
            (kept, is_whole)
        });
        match written.await {
            Ok((then, is_whole)) => (kept, is_behind) = (then, !is_whole),
            // A panic, which has been printed.
            Err(_) => return,
        }
    }
}

/// What is in the directory.
struct Kept {
    dir: PathBuf,
    /// `None` before the first look.
    by_apex: Option<HashMap<Name, Arc<Version>>>,
}

impl Kept {
    /// Makes the directory hold the versions of these zones; false where something failed, which is logged.
    fn follow(&mut self, zones: &[ZoneState]) -> bool {
        let wanted = zones.iter().filter_map(|zone| zone.version.as_ref());
        let wanted: HashMap<&Name, &Arc<Version>> = wanted.map(|version| (&version.apex, version)).collect();
        let known = self.by_apex.take().unwrap_or_default();
        let mut now = HashMap::new();
        let mut is_whole = true;
        for (apex, version) in &wanted {
            let manifest = self.dir.join(format!("{}.json", stem(apex)));
            let is_there = match known.get(*apex) {
                Some(known) => Arc::ptr_eq(known, version) && manifest.exists(),
                // As it was recalled, if it was.
                None => read_since(&manifest) == Some(version.since),
            };
            let is_large = version.octets() > MAX_VERSION;
            if is_large && !known.contains_key(*apex) {
                let (zone, most) = (apex.to_string(), MAX_VERSION >> 20);
                tracing::warn!(
                    zone,
                    "the files of this zone have more than {most} MiB: no last good version is kept for a restart"
                );
            }
            let written = if is_there || is_large { Ok(()) } else { write(&self.dir, version) };
            match written {
                Ok(()) => {
                    now.insert((*apex).clone(), (*version).clone());
                }
                Err(error) => {
                    is_whole = false;
                    tracing::error!(
                        zone = %apex,
                        %error,
                        "the last good version of this zone can't be written: a restart would not have it"
                    );
                }
            }
        }
        tidy(&self.dir, &wanted.values().map(|version| folder(version)).collect());
        self.by_apex = Some(now);
        is_whole
    }
}

fn read_since(manifest: &Path) -> Option<f64> {
    let said: Manifest = serde_json::from_slice(&bounded(manifest, MAX_MANIFEST).ok()?).ok()?;
    Some(said.since)
}

/// Writes the files first, then the one that names them.
fn write(dir: &Path, version: &Version) -> std::io::Result<()> {
    if let Some(state) = dir.parent() {
        store::make(state)?;
    }
    store::make(dir)?;
    let folder = folder(version);
    let into = dir.join(&folder);
    store::make(&into)?;
    let mut files = Vec::new();
    for (at, (path, text)) in version.texts.iter().enumerate() {
        let plain = encoded(&path.to_string_lossy());
        let name = if plain.len() <= MAX_STEM && !plain.starts_with('.') { plain } else { format!("file-{at}") };
        let mut file = File::create(into.join(&name))?;
        file.write_all(text)?;
        file.sync_all()?;
        files.push(KeptText { path: path.clone(), name });
    }
    File::open(&into)?.sync_all()?;
    let (zone, main, since) = (version.apex.to_string(), version.main.clone(), version.since);
    let manifest = Manifest { version: FORM, zone, main, steered_names: version.steered, since, folder, files };
    // Plain data can't fail to serialise.
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
    store::write_durably(dir, &format!("{}.json", stem(&version.apex)), &text)
}

/// Removes what belongs to no version of these folders.
fn tidy(dir: &Path, folders: &HashSet<String>) {
    let stems: HashSet<&str> = folders.iter().filter_map(|folder| Some(folder.rsplit_once('@')?.0)).collect();
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // What cannot be removed is tried again after the next load.
        let _ = match (name.strip_suffix(".json"), name.contains('@')) {
            (Some(stem), _) if !stems.contains(stem) => fs::remove_file(&path),
            (None, true) if !folders.contains(name) => fs::remove_dir_all(&path),
            (Some(_), _) | (None, _) => Ok(()),
        };
    }
}

fn folder(version: &Version) -> String {
    format!("{}@{}", stem(&version.apex), (version.since * 1000.0) as u64)
}

/// A zone's name as the name of a file.
fn stem(apex: &Name) -> String {
    let text = apex.to_string();
    let plain = encoded(text.trim_end_matches('.'));
    match plain.len() {
        0 => "%root".to_owned(),
        1..=MAX_STEM => plain,
        _ => {
            // FNV-1a: what was cut off must still distinguish two names.
            let hash = text
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            format!("{}%{hash:016x}", plain.get(..MAX_STEM - 20).unwrap_or_default())
        }
    }
}

/// Only letters, digits, `-`, `_` and `.`; the rest as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(zone: &str, since: f64, text: &str) -> ZoneState {
        let apex = Name::parse(zone).unwrap();
        let texts = [("a.policy.toml", text), ("inc/b.inc", "b"), ("../up", "c"), (".hidden", "d")];
        let texts = texts.map(|(path, text)| (PathBuf::from(path), Arc::from(text.as_bytes())));
        let main = "a.policy.toml".to_owned();
        let version = Version { apex: apex.clone(), main, steered: 3, since, texts: texts.into_iter().collect() };
        ZoneState { apex, standing: Standing::Current, version: Some(Arc::new(version)) }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn versions_outlive_a_restart_and_go_with_their_zones() {
        let state = tempfile::tempdir().unwrap();
        let (svc, root) = (version("svc.example.", 1700.5, "one"), version(".", 1701.0, "root"));
        let versions = Versions::keep(Some(state.path().into()), [svc.clone(), root.clone()].into());
        versions.close().await;
        let dir = state.path().join(DIR);
        assert_eq!(names(&dir), ["%root.json", "%root@1701000", "svc.example.json", "svc.example@1700500"]);
        assert_eq!(fs::read_to_string(dir.join("svc.example@1700500/a.policy.toml")).unwrap(), "one");
        let recalled = recall(Some(state.path()));
        let read = |zone: &ZoneState| zone.version.as_deref().cloned();
        assert_eq!(recalled.iter().map(read).collect::<Vec<_>>(), [read(&root), read(&svc)]);

        let newer = version("svc.example.", 1800.0, "two");
        let versions = Versions::keep(Some(state.path().into()), recalled.into());
        versions.turn_to([newer.clone()].into());
        versions.close().await;
        assert_eq!(names(&dir), ["svc.example.json", "svc.example@1800000"]);
        assert_eq!(recall(Some(state.path())).iter().map(read).collect::<Vec<_>>(), [read(&newer)]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_left_out() {
        let state = tempfile::tempdir().unwrap();
        Versions::keep(Some(state.path().into()), [version("svc.example.", 1.0, "one")].into()).close().await;
        let dir = state.path().join(DIR);
        fs::write(dir.join("broken.json"), "{").unwrap();
        let outside = fs::read_to_string(dir.join("svc.example.json")).unwrap().replace("file-1", "../../secret");
        fs::write(dir.join("outside.json"), outside.replace("svc.", "other.")).unwrap();
        assert_eq!(recall(Some(state.path())).len(), 1);
        fs::remove_file(dir.join("svc.example@1000/a.policy.toml")).unwrap();
        assert_eq!(recall(Some(state.path())).len(), 0);
        assert_eq!(recall(None).len(), 0);
    }

    #[test]
    fn every_zone_has_a_file_name_of_its_own() {
        let long = |last: &str| Name::parse(&format!("{}{last}.", format!("{}.", "a".repeat(60)).repeat(3))).unwrap();
        assert_ne!(stem(&long("b")), stem(&long("c")));
        assert!(stem(&long("b")).len() <= MAX_STEM);
        assert_eq!(stem(&Name::parse("a/b.example.").unwrap()), "a%2Fb.example");
    }
}
