//! How one version of a zone lies on the disk: `ZONE.json` names the version and its folder, which holds its files as they
//! were. A new version is first put down with `ZONE%next.json`, without waiting for the disk, so that a process that is
//! killed has it already. It takes the place of the one before when the disk has it, so that a machine that stops has
//! one of the two whole.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest as hash};
use serde::{Deserialize, Serialize};

use crate::config::{TextsByPath, Version};
use crate::daemon::store;
use crate::wire::Name;

/// The form of the files that this program reads and writes.
const FORM: u32 = 1;
/// Largest file that names a version, in octets: a path and a name for each of its files.
const MAX_MANIFEST: u64 = 16 << 20;
/// Longest part of a zone's name in the name of a file, in octets: file systems allow 255.
pub(super) const MAX_STEM: usize = 150;
/// Largest version that is kept, in octets of all its files (judgment: three million records).
pub(super) const MAX_VERSION: u64 = 256 << 20;
/// Ends the name of a version that the disk may not have yet; no zone's name is written like that.
const NEXT: &str = "%next";

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
    /// Of its content, in hexadecimal: a machine that stopped may leave less than was written.
    sha256: String,
}

/// The version that this file names, whole and as it was written.
pub(super) fn read(dir: &Path, manifest: &Path) -> Result<Version, String> {
    let text = bounded(manifest, MAX_MANIFEST)?;
    let said: Manifest = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if said.version != FORM {
        return Err(format!("this is version {} of the file, and this program knows {FORM}", said.version));
    }
    let apex = Name::parse(&said.zone).map_err(|error| format!("`{}` is no zone: {error}", said.zone))?;
    let (mut texts, mut left) = (TextsByPath::new(), MAX_VERSION);
    for KeptText { path, name, sha256 } in said.files {
        if [&name, &said.folder].iter().any(|name| name.contains('/') || name.starts_with("..")) {
            return Err(format!("`{name}` is no name of a file"));
        }
        let text = bounded(&dir.join(&said.folder).join(&name), left).map_err(|error| format!("{name}: {error}"))?;
        if digest(&text) != sha256 {
            return Err(format!("{name}: it is not as it was written"));
        }
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

fn digest(text: &[u8]) -> String {
    hash(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// There is nothing of it.
    Not,
    /// It is put down, and the disk may not have it.
    Down,
    /// The disk has it.
    Settled,
}

/// How far this version has come, as its files say.
pub(super) fn state(dir: &Path, version: &Version) -> Written {
    let names = |end: &str| since(&manifest(dir, &version.apex, end)) == Some(version.since);
    match (names(""), names(NEXT)) {
        (true, _) => Written::Settled,
        (false, true) => Written::Down,
        (false, false) => Written::Not,
    }
}

fn since(manifest: &Path) -> Option<f64> {
    let said: Manifest = serde_json::from_slice(&bounded(manifest, MAX_MANIFEST).ok()?).ok()?;
    Some(said.since)
}

/// Whether this file names a version that is to take the place of another.
pub(super) fn is_next(manifest: &Path) -> bool {
    manifest.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(NEXT))
}

fn manifest(dir: &Path, apex: &Name, end: &str) -> PathBuf {
    dir.join(format!("{}{end}.json", stem(apex)))
}

/// Writes the files first, then the one that names them; the disk need not have them yet.
pub(super) fn put_down(dir: &Path, version: &Version) -> std::io::Result<()> {
    if let Some(state) = dir.parent() {
        store::make(state)?;
    }
    store::make(dir)?;
    let into = dir.join(folder(version));
    let written = fill(dir, &into, version);
    if written.is_err() {
        // The room may be needed for less.
        let _ = fs::remove_dir_all(&into);
    }
    written
}

fn fill(dir: &Path, into: &Path, version: &Version) -> std::io::Result<()> {
    store::make(into)?;
    let mut files = Vec::new();
    for (at, (path, text)) in version.texts.iter().enumerate() {
        let plain = encoded(&path.to_string_lossy());
        let name = if plain.len() <= MAX_STEM && !plain.starts_with('.') { plain } else { format!("file-{at}") };
        fs::write(into.join(&name), text)?;
        files.push(KeptText { path: path.clone(), name, sha256: digest(text) });
    }
    let (zone, main, since) = (version.apex.to_string(), version.main.clone(), version.since);
    let folder = folder(version);
    let manifest = Manifest { version: FORM, zone, main, steered_names: version.steered, since, folder, files };
    // Plain data can't fail to serialise.
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
    store::write_for_process(dir, &format!("{}{NEXT}.json", stem(&version.apex)), &text)
}

/// Waits until the disk has what was put down, and puts it in the place of the version before.
pub(super) fn settle(dir: &Path, version: &Version) -> std::io::Result<()> {
    let into = dir.join(folder(version));
    for entry in fs::read_dir(&into)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(&into)?.sync_all()?;
    let next = manifest(dir, &version.apex, NEXT);
    File::open(&next)?.sync_all()?;
    fs::rename(next, manifest(dir, &version.apex, ""))?;
    File::open(dir)?.sync_all()
}

/// Whether the file that names this version is there.
pub(super) fn is_named(dir: &Path, version: &Version) -> bool {
    manifest(dir, &version.apex, "").exists()
}

/// Removes what belongs to none of these versions. Of the zones in `unsettled` everything stays: the version before is
/// all that a restart would have.
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
