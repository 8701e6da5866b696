//! Files of nets that policies and regions name as `"file:office-nets.txt"`: one net or address a line, `#` comments. The
//! I/O between a policy as it is written and its validation, which reads no file. Each file is read once a load, and all that were
//! asked for are remembered, so that they can be watched.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::problem::{Problems, reason};
use crate::config::regions::net;
use crate::config::source::{At, Source, without_mark};
use crate::config::spec::PolicySpec;

/// Most lines of a net file. Judgment: all of the Internet's routes together are a million.
const MAX_LINES: usize = 1_000_000;
/// Most octets of a net file: a line of the longest net is under 64.
const MAX_OCTETS: u64 = 64 << 20;
/// Bad lines of a file that are told one by one; a file of something else has nothing but bad lines (judgment).
const MAX_TOLD: usize = 100;

/// The net files of one load.
#[derive(Debug, Default)]
pub(super) struct NetFiles {
    /// What is in each; `None` where it couldn't be read, which has been told.
    read: BTreeMap<PathBuf, Option<Arc<[IpNet]>>>,
}

impl NetFiles {
    /// Reads what the selectors of `spec` name, relative to the directory of the policy file, which is called `shown`.
    pub(super) fn fill(&mut self, spec: &mut PolicySpec, shown: &Path, real: &Path, problems: &mut Problems) {
        for selector in spec.selectors_mut() {
            for file in &selector.files {
                let from = From { shown, real, is_walled: true, named_in: "policy file" };
                if let Some(nets) = self.nets(file, &from, problems) {
                    selector.file_nets.push(At { value: nets, place: file.place.clone() });
                }
            }
        }
    }

    /// The absolute paths of the files that were asked for, sorted.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        self.read.into_keys().map(|path| std::path::absolute(&path).unwrap_or(path)).collect()
    }

    /// What is in the file that `file` names. `None` where it can't be read, which is told.
    pub(super) fn nets(&mut self, file: &At<String>, from: &From<'_>, problems: &mut Problems) -> Option<Arc<[IpNet]>> {
        let (shown, path) = (from.shown.join(&file.value), from.real.join(&file.value));
        if let Some(known) = self.read.get(&path) {
            return known.clone();
        }
        let nets = match bounded(&path, from) {
            Ok(text) => Some(Arc::from(lines(&shown, &text, problems))),
            Err(Refused { why, hint }) => {
                let problem = problems.error(&file.place, format!("can't read the nets in {}: {why}", shown.display()));
                problem.hint(hint);
                None
            }
        };
        self.read.insert(path, nets.clone());
        nets
    }
}

/// Where a name of a file is written.
pub(super) struct From<'a> {
    /// The directory that it is relative to, as the user would type it.
    pub(super) shown: &'a Path,
    /// The same to the system.
    pub(super) real: &'a Path,
    /// Whether the file must be within that directory.
    pub(super) is_walled: bool,
    /// What the name stands in.
    pub(super) named_in: &'a str,
}

/// Why a file isn't read, and what to do.
struct Refused {
    why: String,
    hint: String,
}

/// The whole file, if it lies where it may and within bounds.
fn bounded(path: &Path, from: &From<'_>) -> Result<Vec<u8>, Refused> {
    let hint = format!("\"file:NAME\" is relative to the {}; it has one net a line", from.named_in);
    let failed = |error: std::io::Error| Refused { why: reason(&error), hint: hint.clone() };
    let refused = |why: String, hint: &str| Err(Refused { why, hint: hint.into() });
    let real = path.canonicalize().map_err(failed)?;
    // As for $INCLUDE: who may write a policy may not thereby read the rest of the disk.
    if from.is_walled && !real.starts_with(from.real.canonicalize().map_err(failed)?) {
        return refused("it is outside the zones directory".into(), "move the file there");
    }
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(&real).map_err(failed)?.is_file() {
        return refused("it is not a file".into(), &hint);
    }
    let mut text = Vec::new();
    std::fs::File::open(&real).and_then(|file| file.take(MAX_OCTETS + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > MAX_OCTETS {
        return refused(format!("it is over {} MiB", MAX_OCTETS >> 20), "name larger nets, or several files");
    }
    if text.iter().filter(|byte| **byte == b'\n').count() > MAX_LINES {
        return refused(format!("it has more than {MAX_LINES} lines"), "name larger nets, or several files");
    }
    Ok(text)
}

/// The nets of a file; every line that is none is a problem.
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
        // An address, or something that is to be told: neither is frequent.
        let at = line_start + code.len() - code.trim_ascii_start().len();
        let mut own = problems.apart();
        nets.extend(net(&At { value: source.text(at, at + written.len()), place: source.place(at) }, &mut own));
        if own.errors() > 0 {
            bad += 1;
            if bad <= MAX_TOLD {
                problems.extend(own);
            }
        }
    }
    if let Some(more @ 1..) = bad.checked_sub(MAX_TOLD) {
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
        let told = problems.into_sorted().iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect();
        (nets.iter().map(ToString::to_string).collect(), told)
    }

    #[test]
    fn one_net_a_line_with_comments() {
        let text = b"\xEF\xBB\xBF# offices\n\n 192.0.2.0/24 # Oslo\r\n198.51.100.7\n2001:db8::/32\t\n2001:db8:1::1";
        let nets = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32", "2001:db8:1::1/128"];
        assert_eq!(read(text), (nets.map(String::from).to_vec(), vec![]));
        assert_eq!(read(b""), (vec![], vec![]));
    }

    #[test]
    fn every_bad_line_is_told_with_its_place_up_to_a_bound() {
        let (nets, told) = read(b"192.0.2.1/24\n10.0.0.0/8\n  office\n\xff\n");
        assert_eq!(nets, ["10.0.0.0/8"]);
        let expected = [
            "1:1: 192.0.2.1/24 has bits beyond its length",
            "3:3: \"office\" is not a net",
            "4:1: \"\u{fffd}\" is not a net",
        ];
        assert_eq!(told, expected);
        let (_, told) = read("x\n".repeat(MAX_TOLD + 7).as_bytes());
        assert_eq!((told.len(), told[0].as_str()), (MAX_TOLD + 1, "1:1: \"x\" is not a net"));
        assert_eq!(told.iter().filter(|told| *told == "1:1: 7 more lines are not nets").count(), 1);
    }
}
