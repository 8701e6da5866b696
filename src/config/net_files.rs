//! Files of nets, which policies and regions name as `"file:office-nets.txt"`: each line has one net or address, and
//! `#` begins a comment. They are read between the parsing of a policy and its validation, which reads no files. Each
//! file is read once in a load. The paths are collected, so that the files can be watched.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::client_lists::net;
use crate::config::spec::PolicySpec;
use crate::source::{At, Problems, Source, SourceFile, Text, Texts, Unread, Wall, files, reason, without_mark};

/// Most lines of a net file. Judgment: all of the Internet's routes together are a million.
const MAX_LINES: usize = 1_000_000;
/// Most octets of a net file: a line of the longest net is under 64.
const MAX_OCTETS: u64 = 64 << 20;
/// Most bad lines of a file that are reported one by one (judgment: a file of another kind has only bad lines).
const MAX_REPORTED: usize = 100;

/// Most nets of all files of one load, and of the files of one zone (judgment: four times the Internet's routes).
const MAX_NETS: usize = 4_000_000;

/// The net files of one load.
#[derive(Debug, Default)]
pub(super) struct NetFiles {
    /// How many nets they have together.
    count: usize,
    /// The files that were read, by path.
    read: BTreeMap<PathBuf, NetFile>,
    /// Those of the zone that is read, or of the settings.
    own: BTreeSet<PathBuf>,
    /// How many nets these have.
    own_count: usize,
    /// Files that no zone needs any more.
    forgotten: BTreeSet<PathBuf>,
}

/// A file that was read.
#[derive(Debug, Clone)]
enum NetFile {
    Good(Arc<[IpNet]>, Arc<[u8]>),
    /// It has errors. They are reported once for the file with this path that names it, and then once for each other
    /// file. With the nets that could be read, so that the rest of the file that names it can be checked.
    Bad(Option<Arc<[IpNet]>>, Arc<SourceFile>),
}

impl NetFiles {
    /// Most nets of all files together.
    pub(super) const MOST: usize = MAX_NETS;

    /// Reads the files that the selectors of `spec` name, relative to the directory of the policy file: `real`, which
    /// messages call `shown`. Returns their paths.
    pub(super) fn fill(
        &mut self,
        spec: &mut PolicySpec,
        (shown, real): (&Path, &Path),
        texts: &Texts<'_>,
        problems: &mut Problems,
    ) -> BTreeSet<PathBuf> {
        (self.own, self.own_count) = (BTreeSet::new(), 0);
        for selector in spec.selectors_mut() {
            let mut found = Vec::new();
            for file in &selector.nets.files {
                let from = From { shown, real, wall: Wall::Closed, named_in: "policy file", texts };
                if let Some(nets) = self.nets(file, &from, problems) {
                    found.push(At { value: nets, place: file.place.clone() });
                }
            }
            selector.nets.of_files = found;
        }
        std::mem::take(&mut self.own)
    }

    /// Whether all files have too many nets together.
    pub(super) fn is_over(&self) -> bool {
        self.count > MAX_NETS
    }

    /// How many nets these files have.
    pub(super) fn count_of(&self, paths: &BTreeSet<PathBuf>) -> usize {
        paths.iter().filter_map(|path| self.read.get(path)).map(NetFile::count).sum()
    }

    /// Adds a file with so many nets, as if it had been read.
    #[cfg(test)]
    pub(super) fn put(&mut self, path: &Path, count: usize) {
        let nets = vec![IpNet::from(std::net::IpAddr::from([192, 0, 2, 1])); count];
        self.count += count;
        self.read.insert(path.to_path_buf(), NetFile::Good(nets.into(), Arc::default()));
    }

    /// Whether this file was read, or could not be read.
    #[cfg(test)]
    pub(super) fn has_seen(&self, path: &Path) -> bool {
        self.read.contains_key(path) || self.forgotten.contains(path)
    }

    /// Forgets the nets of files that no zone needs any more. A zone that names one later has it read again.
    pub(super) fn forget(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            self.count -= self.read.remove(&path).map_or(0, |file| file.count());
            self.forgotten.insert(path);
        }
    }

    /// The absolute paths of all files, also of those that could not be read, sorted.
    pub(super) fn into_paths(mut self) -> Vec<PathBuf> {
        self.forgotten.extend(self.read.into_keys());
        self.forgotten.iter().map(|path| files::absolute(path)).collect()
    }

    /// The nets in the file that `file` names. `None` if it has errors, which are reported.
    pub(super) fn nets(&mut self, file: &At<String>, from: &From<'_>, problems: &mut Problems) -> Option<Arc<[IpNet]>> {
        let (shown, path) = (from.shown.join(&file.value), from.real.join(&file.value));
        let is_first = self.own.insert(path.clone());
        match self.read.get(&path) {
            None => {}
            Some(NetFile::Good(nets, text)) => {
                from.texts.note(&shown, text);
                let nets = nets.clone();
                self.count_own(&shown, (is_first, nets.len()), file, problems);
                return Some(nets);
            }
            Some(NetFile::Bad(nets, reported_in)) if *reported_in == file.place.file => return nets.clone(),
            Some(NetFile::Bad(..)) => {
                let message = format!("can't use the nets in {}: that file has errors", shown.display());
                problems.error(&file.place, message).hint("each line of it is a net, or empty, or a comment");
                return None;
            }
        }
        let reported_in = Arc::clone(&file.place.file);
        let (nets, read) = match bounded(&shown, &path, from) {
            Ok(text) => {
                let before = problems.errors();
                let nets: Arc<[IpNet]> = lines(&shown, &text, problems).into();
                self.count += nets.len();
                let is_good = problems.errors() == before;
                self.count_own(&shown, (is_first, nets.len()), file, problems);
                match is_good {
                    true => (Some(nets.clone()), NetFile::Good(nets, text)),
                    false => (Some(nets.clone()), NetFile::Bad(Some(nets), reported_in)),
                }
            }
            Err(Refused { why, hint }) => {
                let problem = problems.error(&file.place, format!("can't read the nets in {}: {why}", shown.display()));
                problem.hint(hint);
                (None, NetFile::Bad(None, reported_in))
            }
        };
        self.read.insert(path, read);
        nets
    }

    /// Counts the nets of a file for the zone that names it, or for the settings.
    fn count_own(
        &mut self,
        shown: &Path,
        (is_first, count): (bool, usize),
        file: &At<String>,
        problems: &mut Problems,
    ) {
        self.own_count += if is_first { count } else { 0 };
        if is_first && self.own_count > MAX_NETS {
            let message = format!("with {} the files that are named here have over {MAX_NETS} nets", shown.display());
            problems.error(&file.place, message).hint("name larger nets");
        }
    }
}

impl NetFile {
    fn count(&self) -> usize {
        match self {
            NetFile::Good(nets, _) | NetFile::Bad(Some(nets), _) => nets.len(),
            NetFile::Bad(None, _) => 0,
        }
    }
}

/// How the name of a file is resolved.
pub(super) struct From<'a> {
    /// The directory that it is relative to, as the user would type it.
    pub(super) shown: &'a Path,
    /// The same directory, as the system knows it.
    pub(super) real: &'a Path,
    /// Where the file may be.
    pub(super) wall: Wall,
    /// The kind of file that contains the name, for messages.
    pub(super) named_in: &'a str,
    /// The source of the file's text.
    pub(super) texts: &'a Texts<'a>,
}

/// Why a file isn't read, and what to do.
struct Refused {
    why: String,
    hint: String,
}

/// The content of the file, if its path is allowed and it is within bounds.
fn bounded(shown: &Path, path: &Path, from: &From<'_>) -> Result<Arc<[u8]>, Refused> {
    let hint = format!("\"file:NAME\" is relative to the {}; it has one net a line", from.named_in);
    let refused = |why: String, hint: &str| Err(Refused { why, hint: hint.into() });
    let text = match from.texts.file(shown, path, from.wall, MAX_OCTETS) {
        Ok(Text { bytes, .. }) => bytes,
        Err(Unread::Outside) => return refused("it is outside the zones directory".into(), "move the file there"),
        Err(Unread::Refused(error)) if error.kind() == ErrorKind::FileTooLarge => {
            return refused(reason(&error), "name larger nets, or several files");
        }
        Err(Unread::Refused(error)) => return refused(reason(&error), &hint),
    };
    if text.iter().filter(|byte| **byte == b'\n').count() > MAX_LINES {
        return refused(format!("it has more than {MAX_LINES} lines"), "name larger nets, or several files");
    }
    Ok(text)
}

/// The nets of a file. A line that is not a net is a problem.
fn lines(shown: &Path, text: &[u8], problems: &mut Problems) -> Vec<IpNet> {
    let text = without_mark(text);
    let source = Source::new(shown, text);
    let (mut nets, mut bad, mut start) = (Vec::new(), 0, 0);
    for line in text.split(|byte| *byte == b'\n') {
        let line_start = start;
        start += line.len() + 1;
        let code = line.split(|byte| *byte == b'#').next().unwrap_or(line);
        let written = code.trim_ascii();
        if written.is_empty() {
            continue;
        }
        let parsed = std::str::from_utf8(written).ok().and_then(|text| text.parse::<IpNet>().ok());
        if let Some(net) = parsed.filter(|net| net.trunc() == *net) {
            nets.push(net);
            continue;
        }
        // An address, or a bad line: both are rare.
        let at = line_start + code.len() - code.trim_ascii_start().len();
        let mut own = problems.separate();
        nets.extend(net(&At { value: source.text(at, at + written.len()), place: source.place(at) }, &mut own));
        if own.errors() > 0 {
            bad += 1;
            if bad <= MAX_REPORTED {
                problems.extend(own);
            }
        }
    }
    if let Some(more @ 1..) = bad.checked_sub(MAX_REPORTED) {
        let message = format!("{more} more lines are not nets");
        problems.error(&source.place(0), message).hint("one net a line, such as 192.0.2.0/24; `#` begins a comment");
    }
    nets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<String>, Vec<String>) {
        let mut problems = Problems::default();
        let nets = lines(Path::new("f"), text, &mut problems);
        let found = problems.into_sorted().iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect();
        (nets.iter().map(ToString::to_string).collect(), found)
    }

    #[test]
    fn one_net_a_line_with_comments() {
        let text = b"\xEF\xBB\xBF# offices\n\n 192.0.2.0/24 # Oslo\r\n198.51.100.7\n2001:db8::/32\t\n2001:db8:1::1";
        let nets = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32", "2001:db8:1::1/128"];
        assert_eq!(read(text), (nets.map(String::from).to_vec(), vec![]));
        assert_eq!(read(b""), (vec![], vec![]));
    }

    #[test]
    fn every_bad_line_is_reported_with_its_place_up_to_a_bound() {
        let (nets, found) = read(b"192.0.2.1/24\n10.0.0.0/8\n  office\n\xff\n");
        assert_eq!(nets, ["10.0.0.0/8"]);
        let expected = [
            "1:1: 192.0.2.1/24 has bits beyond its length",
            "3:3: \"office\" is not a net",
            "4:1: \"\u{fffd}\" is not a net",
        ];
        assert_eq!(found, expected);
        let (_, found) = read("x\n".repeat(MAX_REPORTED + 7).as_bytes());
        assert_eq!((found.len(), found[0].as_str()), (MAX_REPORTED + 1, "1:1: \"x\" is not a net"));
        assert_eq!(found.iter().filter(|line| *line == "1:1: 7 more lines are not nets").count(), 1);
    }
}
