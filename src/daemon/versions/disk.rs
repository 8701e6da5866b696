//! One version of a zone on the disk: `ZONE.json` names the version and its folder, which has copies of its files. A
//! new version is first written as `ZONE%next.json` without waiting for the disk, so that it outlives the process.
//! Then it is forced to the disk and replaces the version before it, so that one of the two is whole after a power
//! cut.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest as hash};
use serde::{Deserialize, Serialize};

use crate::config::Version;
use crate::daemon::state::{Durability, FileInfo, StateFile, make_dir, replace, text_of};
use crate::source::TextsByPath;
use crate::source::files;
use crate::wire::Name;

/// The file that names a version, called after its zone.
pub(crate) const MANIFEST: StateFile<Manifest> = StateFile::new(FileInfo {
    name: "ZONE.json",
    version: 1,
    content: "the last good version of a zone",
    // Its folder is not on the disk yet: see `settle`.
    durability: Durability::Process,
    is_counted: true,
});
/// Largest file that names a version, in octets: a path and a name for each of its files.
const MAX_MANIFEST: u64 = 16 << 20;
/// Longest part of a zone's name in the name of a file, in octets: file systems allow 255.
pub(super) const MAX_STEM: usize = 150;
/// Largest version that is written, in octets of all its files (judgment: three million records).
pub(super) const MAX_VERSION: u64 = 256 << 20;
/// Ends the name of a version that may not be on the disk yet; no zone's name is encoded like that.
const NEXT: &str = "%next";

/// The content of the file that names a version.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    version: u32,
    zone: String,
    /// The policy file, or the master file of a static zone.
    main: String,
    steered_names: usize,
    /// Unix seconds.
    since: f64,
    folder: String,
    files: Vec<FileRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRow {
    /// Relative to the zones directory.
    path: PathBuf,
    /// Its name in the folder.
    name: String,
    /// Of its content, in hexadecimal: after a power cut a part of it may be missing.
    sha256: String,
}

/// The version that a file names. An error where a file of it is missing or has another content than was written.
pub(super) fn read(dir: &Path, file: &Path) -> Result<Version, String> {
    let text = bounded(file, MAX_MANIFEST)?;
    let manifest = MANIFEST.parse(&text)?;
    let apex = Name::parse(&manifest.zone).map_err(|error| format!("`{}` is no zone: {error}", manifest.zone))?;
    let (mut texts, mut left) = (TextsByPath::new(), MAX_VERSION);
    for FileRow { path, name, sha256 } in manifest.files {
        if [&name, &manifest.folder].iter().any(|name| name.contains('/') || name.starts_with("..")) {
            return Err(format!("`{name}` is no name of a file"));
        }
        let text =
            bounded(&dir.join(&manifest.folder).join(&name), left).map_err(|error| format!("{name}: {error}"))?;
        if digest(&text) != sha256 {
            return Err(format!("{name}: it is not as it was written"));
        }
        left -= text.len() as u64;
        texts.insert(path, text.into());
    }
    Ok(Version { apex, main: manifest.main, steered: manifest.steered_names, since: manifest.since, texts })
}

fn bounded(file: &Path, limit: u64) -> Result<Vec<u8>, String> {
    files::read(file, limit).map_err(|error| error.to_string())
}

fn digest(text: &[u8]) -> String {
    hash(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How far the writing of a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteProgress {
    /// Nothing of it is written.
    Nothing,
    /// It is written and outlives this process.
    Written,
    /// It is on the disk and outlives the machine.
    Settled,
}

/// How far the writing of this version was when the process started.
pub(super) fn progress(dir: &Path, version: &Version) -> WriteProgress {
    let names = |end: &str| since(&manifest(dir, &version.apex, end)) == Some(version.since);
    match (names(""), names(NEXT)) {
        (true, _) => WriteProgress::Settled,
        (false, true) => WriteProgress::Written,
        (false, false) => WriteProgress::Nothing,
    }
}

fn since(file: &Path) -> Option<f64> {
    let manifest = MANIFEST.parse(&bounded(file, MAX_MANIFEST).ok()?).ok()?;
    Some(manifest.since)
}

/// Whether this file names a version that is to replace another.
pub(super) fn is_next(manifest: &Path) -> bool {
    manifest.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(NEXT))
}

fn manifest(dir: &Path, apex: &Name, end: &str) -> PathBuf {
    dir.join(format!("{}{end}.json", stem(apex)))
}

/// Writes the files first, then the one that names them, without waiting for the disk.
pub(super) fn write(dir: &Path, version: &Version) -> std::io::Result<()> {
    if let Some(state) = dir.parent() {
        make_dir(state)?;
    }
    make_dir(dir)?;
    let into = dir.join(folder(version));
    let written = fill(dir, &into, version);
    if written.is_err() {
        // A smaller version may need the room.
        let _ = fs::remove_dir_all(&into);
    }
    written
}

fn fill(dir: &Path, into: &Path, version: &Version) -> std::io::Result<()> {
    make_dir(into)?;
    let mut files = Vec::new();
    for (at, (path, text)) in version.texts.iter().enumerate() {
        let plain = encoded(&path.to_string_lossy());
        let name = if plain.len() <= MAX_STEM && !plain.starts_with('.') { plain } else { format!("file-{at}") };
        replace(into, &name, text, Durability::Process)?;
        files.push(FileRow { path: path.clone(), name, sha256: digest(text) });
    }
    let (zone, main, since) = (version.apex.to_string(), version.main.clone(), version.since);
    let folder = folder(version);
    let manifest =
        Manifest { version: MANIFEST.info.version, zone, main, steered_names: version.steered, since, folder, files };
    let name = format!("{}{NEXT}.json", stem(&version.apex));
    replace(dir, &name, text_of(&manifest).as_bytes(), MANIFEST.info.durability)
}

/// Forces a written version to the disk, and replaces the version before it.
pub(super) fn settle(dir: &Path, version: &Version) -> std::io::Result<()> {
    let into = dir.join(folder(version));
    for entry in fs::read_dir(&into)? {
        files::open(&entry?.path())?.0.sync_all()?;
    }
    File::open(&into)?.sync_all()?;
    let next = manifest(dir, &version.apex, NEXT);
    files::open(&next)?.0.sync_all()?;
    fs::rename(next, manifest(dir, &version.apex, ""))?;
    File::open(dir)?.sync_all()
}

/// Whether the file that names this version is there.
pub(super) fn is_named(dir: &Path, version: &Version) -> bool {
    manifest(dir, &version.apex, "").exists()
}

/// Removes everything that belongs to none of these versions. For the zones in `unsettled` everything stays: a
/// restart would have only the version before.
pub(super) fn tidy<'a>(dir: &Path, versions: impl Iterator<Item = &'a Version>, unsettled: &HashSet<Name>) {
    let mut folders = HashSet::new();
    let mut stems = HashSet::new();
    for version in versions {
        stems.insert(stem(&version.apex));
        folders.insert(folder(version));
    }
    let unsettled: HashSet<String> = unsettled.iter().map(stem).collect();
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // What cannot be removed is tried again after the next load.
        let _ = match (name.strip_suffix(".json"), name.rsplit_once('@')) {
            (Some(stem), _) => {
                let zone = stem.strip_suffix(NEXT).unwrap_or(stem);
                let is_left_over = zone != stem && !unsettled.contains(zone);
                if is_left_over || !stems.contains(zone) { fs::remove_file(&path) } else { Ok(()) }
            }
            (None, Some((stem, _))) if !folders.contains(name) && !unsettled.contains(stem) => {
                fs::remove_dir_all(&path)
            }
            (None, _) => Ok(()),
        };
    }
}

fn folder(version: &Version) -> String {
    format!("{}@{}", stem(&version.apex), (version.since * 1000.0) as u64)
}

/// A zone's name as the name of a file.
pub(super) fn stem(apex: &Name) -> String {
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
