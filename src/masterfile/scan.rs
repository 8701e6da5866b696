//! Scans a master file into records with their places. The `domain` crate reads each entry; `$INCLUDE` is followed
//! here. After an error in one entry, the next one is read as if the wrong one were not there. Whether the records
//! are a valid zone is checked by `rules`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use domain::base::iana::Rtype;
use domain::base::name::{Name as ScannedName, ParsedName, ToName};
use domain::base::rdata::{ComposeRecordData, ParseAnyRecordData};
use domain::dep::octseq::Parser;
use domain::rdata::AllRecordData;
use domain::zonefile::inplace::{self, ScannedRecord};

use crate::masterfile::content;
use crate::masterfile::entry::{Entries, MasterEntry};
use crate::masterfile::explain;
use crate::masterfile::feed::Feed;
use crate::masterfile::head::EntryHead;
use crate::masterfile::line::{Fault, ScannerLine, seconds};
use crate::masterfile::names;
use crate::source::{MAX_MASTER, Place, Problems, Source, Text, Texts, Unread, Wall, reason, without_mark};
use crate::wire::Name;
use crate::wire::code::rtype::SOA;

/// Longest TTL (RFC 2181, 8).
pub(super) const MAX_TTL: u32 = i32::MAX as u32;
/// Most records of one zone (judgment: all but the largest top-level domains have fewer). Each takes about 200 octets
/// of memory.
const MAX_RECORDS: usize = 4_000_000;
/// Most files that may be included within one another (judgment; BIND stops at 16).
const MAX_DEPTH: usize = 16;

/// One record as scanned.
#[derive(Debug)]
pub(super) struct MasterRecord {
    /// Owner.
    pub(super) owner: Name,
    /// Type code.
    pub(super) rtype: u16,
    /// Seconds, 0 to 2^31-1.
    pub(super) ttl: u32,
    /// Content in wire form, without compression.
    pub(super) rdata: Box<[u8]>,
    /// Where its entry begins.
    pub(super) place: Place,
}

/// The SOA that names the zone of a file.
#[derive(Debug)]
pub(super) struct Soa {
    /// The origin where it is written.
    pub(super) origin: Name,
    /// Its owner: the zone.
    pub(super) owner: Name,
}

/// What was read from a master file and the files that it includes.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// In the order in which they are written.
    pub(super) records: Vec<MasterRecord>,
    /// The first SOA.
    pub(super) soa: Option<Soa>,
    /// The canonical paths of the files that were included.
    pub(super) included: Vec<PathBuf>,
    /// Whether one of the files is no text: nothing of it was read.
    pub(super) has_nul: bool,
}

/// The path of a file, for messages and for the system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileAt<'a> {
    /// As the user would type it.
    pub(crate) shown: &'a Path,
    /// Where it is read from.
    pub(crate) real: &'a Path,
}

/// Scans `bytes`, the content of `file`. Relative names are under `origin`. Included files come from `texts`.
pub(super) fn scan(
    file: FileAt<'_>,
    bytes: &[u8],
    origin: &Name,
    texts: &Texts<'_>,
    problems: &mut Problems,
) -> Scanned {
    let open = vec![texts.identity(file.shown, file.real)];
    let mut scan =
        Scan { problems, texts, out: Scanned::default(), open, ttl_known: false, default_ttl: None, is_full: false };
    scan.file(file, bytes, Feed::new(to_scanned(origin)));
    scan.out
}

struct Scan<'a> {
    problems: &'a mut Problems,
    texts: &'a Texts<'a>,
    out: Scanned,
    /// The files that are being read, the outermost first; they must not include each other again.
    open: Vec<PathBuf>,
    /// Whether a record without a TTL has one to use: that of `$TTL`, of the SOA, or of the record before it.
    ttl_known: bool,
    /// The TTL that the last `$TTL` has set, or a SOA without one.
    default_ttl: Option<u32>,
    /// Whether there are too many records, which is reported once.
    is_full: bool,
}

impl Scan<'_> {
    fn file(&mut self, file: FileAt<'_>, bytes: &[u8], mut feed: Feed) {
        let bytes = without_mark(bytes);
        let source = Source::new(file.shown, bytes);
        self.out.has_nul |= bytes.contains(&0);
        for entry in Entries::new(bytes) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(broken) => {
                    self.problems.error(&source.place(broken.at), broken.message).hint(broken.hint);
                    continue;
                }
            };
            let line = ScannerLine::of(&entry, bytes, feed.origin().as_octets());
            if !self.allowed(&entry, &line, &source) {
                continue;
            }
            if let Some((token, fault)) = &line.wrong {
                self.faulty(fault, *token, &entry, &line, &source);
                continue;
            }
            if line.head == EntryHead::Directive("$INCLUDE".into()) {
                self.include_as(file, &entry, &line, &source, &mut feed);
                continue;
            }
            match feed.line(&line.bytes) {
                Ok(None) => {
                    if let Some(ttl) = directive_ttl(&entry, &line, &source) {
                        (self.ttl_known, self.default_ttl) = (true, u32::try_from(ttl).ok());
                    }
                }
                Ok(Some(inplace::Entry::Record(record))) => self.record(record, &entry, &line, &source, &mut feed),
                // The scanner never receives that directive.
                Ok(Some(inplace::Entry::Include { .. })) => {}
                Err(error) => self.refused(&error, feed.lines(), &entry, &line, &source),
            }
        }
    }

    /// Whether the entry has a valid TTL or needs none; otherwise a problem is added.
    fn allowed(&mut self, entry: &MasterEntry, line: &ScannerLine, source: &Source<'_>) -> bool {
        let (rtype, ttl) = match &line.head {
            EntryHead::Record { rtype, ttl } => (rtype.as_str(), *ttl),
            EntryHead::Directive(_) => ("SOA", directive_ttl(entry, line, source).map(|ttl| (ttl, 1))),
        };
        match ttl {
            Some((ttl, token)) if ttl > u64::from(MAX_TTL) => {
                let place = place_of(entry, token, source);
                let problem = self.problems.error(&place, format!("a TTL is at most {MAX_TTL} seconds (RFC 2181, 8)"));
                problem.hint("write seconds, or a number with a unit: `300`, `1h`, `1d`");
                false
            }
            None if !self.ttl_known && !rtype.is_empty() && rtype != "SOA" => {
                let place = place_of(entry, 0, source);
                let problem = self.problems.error(&place, "this record has no TTL, and no line before it sets one");
                problem.hint("write `$TTL 3600` at the top of the file");
                // It is reported once: the same `$TTL` is the solution for all records.
                self.ttl_known = true;
                false
            }
            Some(_) | None => {
                self.ttl_known |= ttl.is_some();
                true
            }
        }
    }

    /// Sets the TTL of the following records that have none, as `$TTL` does.
    fn set_ttl(&mut self, ttl: u32, feed: &mut Feed) {
        (self.ttl_known, self.default_ttl) = (true, Some(ttl));
        // A number of 32 bits is never refused.
        let _ = feed.line(format!("$TTL {ttl}\n").as_bytes());
    }

    /// Checks the content of a record and adds it.
    fn record(
        &mut self,
        record: ScannedRecord,
        entry: &MasterEntry,
        line: &ScannerLine,
        source: &Source<'_>,
        feed: &mut Feed,
    ) {
        let place = place_of(entry, 0, source);
        let rtype = real_type(line, &record);
        let (mut owner, mut rdata) = (Vec::new(), Vec::new());
        // Writing to a Vec can't fail.
        let _ = record.owner().compose(&mut owner).and_then(|()| record.data().compose_rdata(&mut rdata));
        let Some(owner) = Name::from_wire(&owner) else {
            let problem = self.problems.error(&place, "the owner's name is too long with its origin");
            problem.hint("a name has 255 octets at most; look for a missing final dot, or at $ORIGIN");
            return;
        };
        if rdata.len() > usize::from(u16::MAX) || !is_of_type(record.rtype(), &rdata) {
            let rtype = Rtype::from_int(rtype);
            let problem = self.problems.error(&place, format!("these octets can't be the content of {rtype} records"));
            problem.hint = explain::form(&rtype.to_string())
                .or_else(|| Some("write it in the text form of its type, or mend the octets after `\\#`".into()));
            return;
        }
        if let Some(wrong) = content::fault(rtype, &rdata) {
            let problem = self.problems.error(&place, format!("bad {} record: {wrong}", Rtype::from_int(rtype)));
            problem.hint("remove it, or compare it with what made it");
            return;
        }
        let mut ttl = record.ttl().as_secs();
        if rtype == SOA {
            if self.out.soa.is_none() {
                let origin = to_name(&feed.origin());
                self.out.soa = origin.map(|origin| Soa { origin, owner: owner.clone() });
            }
            if !self.ttl_known {
                // As BIND does: the SOA's last field stands for a `$TTL` that isn't there (RFC 1035, 3.3.13).
                ttl = minimum_of(&rdata);
                if ttl > MAX_TTL {
                    let message = "this SOA's last field is the TTL of records that have none, and too large for that";
                    self.problems.error(&place, message).hint("write `$TTL 3600` at the top of the file");
                }
                self.set_ttl(ttl, feed);
            }
        }
        if self.out.records.len() >= MAX_RECORDS {
            if !self.is_full {
                let message = format!("with this record the zone has over {MAX_RECORDS} records");
                self.problems
                    .error(&place, message)
                    .hint("divide the zone: delegate a part of it to a zone of its own");
                self.is_full = true;
            }
            return;
        }
        self.out.records.push(MasterRecord { owner, rtype, ttl: ttl.min(MAX_TTL), rdata: rdata.into(), place });
    }

    /// `$INCLUDE FILE [ORIGIN]`, the file's name with or without quotes.
    fn include_as(
        &mut self,
        from: FileAt<'_>,
        entry: &MasterEntry,
        line: &ScannerLine,
        source: &Source<'_>,
        feed: &mut Feed,
    ) {
        let text = |at: usize| entry.tokens.get(at).map(|token| source.bytes(token.start, token.end));
        let wrong = match (text(1).map(content::text_of), text(3)) {
            (None, _) => (1, content::TOO_FEW),
            (Some(_), Some(_)) => (3, content::TOO_MANY),
            (Some(Some(path)), None) => match String::from_utf8(path) {
                Ok(path) => return self.include_file(from, &path, entry, source, feed),
                Err(_) => (1, "bad symbol"),
            },
            (Some(None), None) => (1, "bad symbol"),
        };
        self.faulty(&Fault::Content(wrong.1), wrong.0, entry, line, source);
    }

    /// After the included file, origin and owner are again what they were before it. A `$TTL` in it stays in force: it
    /// applies to all records that appear after it (RFC 2308, 4).
    fn include_file(
        &mut self,
        from: FileAt<'_>,
        path: &str,
        entry: &MasterEntry,
        source: &Source<'_>,
        feed: &mut Feed,
    ) {
        let mut inner = feed.clone();
        let outer = feed.origin();
        let origin = entry.tokens.get(2).map(|token| source.bytes(token.start, token.end));
        let origin = origin.and_then(|token| names::resolve(token, outer.as_octets()).ok());
        if let Some(origin) = origin.and_then(|origin| ScannedName::from_octets(Bytes::from(origin)).ok()) {
            inner.set_origin(origin);
        }
        let before = self.default_ttl;
        self.include(from, path, &place_of(entry, 1, source), inner);
        if let Some(ttl) = self.default_ttl.filter(|ttl| before != Some(*ttl)) {
            self.set_ttl(ttl, feed);
        }
    }

    fn include(&mut self, from: FileAt<'_>, path: &str, place: &Place, feed: Feed) {
        let relative_to = |file: &Path| file.parent().unwrap_or(Path::new("")).join(path);
        let (shown, real) = (relative_to(from.shown), relative_to(from.real));
        let name = shown.display();
        let why = match self.texts.file(&shown, &real, Wall::Closed, MAX_MASTER) {
            Ok(Text { identity, bytes }) => {
                return self.included(FileAt { shown: &shown, real: &identity }, &bytes, place, feed);
            }
            Err(Unread::Outside) => {
                let problem = self.problems.error(place, format!("{name} is outside the zones directory"));
                problem.hint("files are only included from within it: move the file there");
                return;
            }
            Err(Unread::Refused(error)) => reason(&error),
        };
        let problem = self.problems.error(place, format!("can't include {name}: {why}"));
        problem.hint("the file's name is relative to the file that includes it");
    }

    /// Scans a file that an entry at `place` includes.
    fn included(&mut self, file: FileAt<'_>, bytes: &[u8], place: &Place, feed: Feed) {
        let (name, real) = (file.shown.display(), file.real.to_path_buf());
        if self.open.contains(&real) {
            let problem = self.problems.error(place, format!("{name} includes itself"));
            problem.hint("take this line out, or name another file");
            return;
        }
        if self.open.len() > MAX_DEPTH {
            let message = format!("{name} is the {MAX_DEPTH}th file within one another, and that is too deep");
            self.problems.error(place, message).hint("include it from a file further up");
            return;
        }
        self.open.push(real.clone());
        let ttl_known = self.ttl_known;
        self.file(file, bytes, feed);
        // The TTL of a record in the included file does not apply to records after the file.
        self.ttl_known = ttl_known || self.default_ttl.is_some();
        self.open.pop();
        self.out.included.push(real);
    }

    /// Reports an error at a token of an entry. If the token is missing, the place is that of the last one.
    fn faulty(&mut self, fault: &Fault, token: usize, entry: &MasterEntry, line: &ScannerLine, source: &Source<'_>) {
        let at = token.min(entry.tokens.len().saturating_sub(1));
        let Some(token) = entry.tokens.get(at) else { return };
        // `alpn="h2"` is two tokens and one field.
        let joined = entry.tokens[at..].windows(2).take_while(|pair| pair[0].end == pair[1].start).count();
        let end = entry.tokens.get(at + joined).map_or(token.end, |last| last.end);
        let text = source.text(token.start, end);
        let (message, hint) = match fault {
            Fault::Content(reason) => explain::explain(reason, &text, &line.head),
            Fault::Name(reason) => explain::not_a_name(reason, &text),
            Fault::Quoted => explain::needless_quotes(&text),
        };
        self.problems.error(&source.span(token.start, end), message).hint = hint;
    }

    /// Reports an entry that the scanner refused with `error`, which is `LINE:COLUMN: REASON`.
    fn refused(&mut self, error: &str, lines_fed: usize, entry: &MasterEntry, line: &ScannerLine, source: &Source<'_>) {
        let mut parts = error.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.trim().parse::<usize>().ok()).unwrap_or(1);
        let (at_line, column) = (number(), number());
        let reason = parts.next().unwrap_or(error).trim();
        let column = if at_line > lines_fed + 1 { usize::MAX } else { column };
        let Some(token) = line.token_at(column, entry) else { return };
        let place = source.span(token.start, token.end);
        let text = source.text(token.start, token.end);
        let (message, hint) = explain::explain(reason, &text, &line.head);
        self.problems.error(&place, message).hint = hint;
    }
}

/// The TTL that a `$TTL` sets.
fn directive_ttl(entry: &MasterEntry, line: &ScannerLine, source: &Source<'_>) -> Option<u64> {
    let token = entry.tokens.get(1).filter(|_| line.head == EntryHead::Directive("$TTL".into()))?;
    seconds(source.bytes(token.start, token.end))
}

/// The type as it is written. The scanned type is another one if `line` has replaced it.
fn real_type(line: &ScannerLine, record: &ScannedRecord) -> u16 {
    match &line.head {
        // The `domain` crate does not know the name `NSAP-PTR`: it was scanned by its number.
        EntryHead::Record { rtype, .. } => {
            rtype.parse::<Rtype>().map_or(record.rtype().to_int(), |rtype| rtype.to_int())
        }
        EntryHead::Directive(_) => record.rtype().to_int(),
    }
}

/// Whether the content is valid for its type. It may be written as octets (RFC 3597), which the scanner does not check,
/// and the scanner accepts empty labels.
fn is_of_type(rtype: Rtype, rdata: &[u8]) -> bool {
    let mut parser = Parser::from_ref(rdata);
    let Ok(parsed) = AllRecordData::<&[u8], ParsedName<&[u8]>>::parse_any_rdata(rtype, &mut parser) else {
        return false;
    };
    let mut again = Vec::new();
    // A compressed name would become longer.
    parser.remaining() == 0 && parsed.compose_rdata(&mut again).is_ok() && again == rdata
}

/// The last field of a SOA.
fn minimum_of(rdata: &[u8]) -> u32 {
    rdata.last_chunk::<4>().map_or(0, |last| u32::from_be_bytes(*last))
}

fn place_of(entry: &MasterEntry, token: usize, source: &Source<'_>) -> Place {
    match entry.tokens.get(token).or(entry.tokens.last()) {
        Some(token) => source.span(token.start, token.end),
        None => source.place(0),
    }
}

fn to_scanned(name: &Name) -> ScannedName<Bytes> {
    ScannedName::from_octets(Bytes::copy_from_slice(name.as_wire())).unwrap_or_else(|_| ScannedName::root_bytes())
}

fn to_name(name: &ScannedName<Bytes>) -> Option<Name> {
    Name::from_wire(name.as_octets())
}
