//! The zones as the files of the zones directory are now. A [`Candidate`] is one policy file with its master file, or
//! one static zone. This module reads and scans. The caller decides whether a candidate is valid, and which of two that
//! collide is accepted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::net_files::NetFiles;
use crate::config::spec::{self, PolicySpec};
use crate::masterfile::{self, Apex, FileAt, MasterFile};
use crate::source::files::Listing;
use crate::source::{
    Collected, MAX_MASTER, MAX_POLICY, ManualSection, Place, Problems, Text, Texts, Unread, Wall, files, reason,
};
use crate::wire::Name;

/// The end of a policy file's name.
pub(super) const POLICY: &str = ".policy.toml";
/// The end of a master file's name.
pub(super) const MASTER: &str = ".zone";

/// Whether a file of this name in the zones directory is, or may be, the main file of a zone: it is read when it
/// appears.
pub(crate) fn makes_zone(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(POLICY) || name.ends_with(MASTER))
}

/// The zones directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory<'a> {
    /// As the user would type it.
    pub(super) shown: &'a Path,
    /// Where it is read.
    pub(super) real: &'a Path,
    /// Policy files that are checked before they are written, by their names: they stand for those of the directory.
    pub(super) trials: &'a PolicyTexts,
}

/// The texts of policy files by their names in the directory.
pub type PolicyTexts = BTreeMap<String, Arc<[u8]>>;

/// No policy files.
pub(in crate::config::zones) static NO_POLICIES: PolicyTexts = PolicyTexts::new();

/// One zone as its files are now.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The policy file, or the master file of a static zone: its name in the directory.
    pub(super) main: String,
    /// The zone, if that is known.
    pub(super) apex: Option<Name>,
    /// Where the zone's name is written.
    pub(super) place: Place,
    /// What was read from the files.
    pub(super) content: Content,
    /// The canonical path of the master file, and where the policy names it.
    pub(super) master: Option<(PathBuf, Place)>,
    /// The name of the master file as it is written in the policy.
    pub(super) master_name: Option<String>,
    /// The canonical paths of all its files: none of them is a static zone.
    pub(super) files: HashSet<PathBuf>,
    /// The problems of the files.
    pub(super) problems: Problems,
    /// Every file that was read, or that could not be read.
    pub(super) read: Collected,
    /// How many octets were read.
    pub(super) octets: u64,
    /// The files of nets that it names.
    pub(super) net_files: BTreeSet<PathBuf>,
}

/// What was read from the files of a zone.
#[derive(Debug)]
pub(super) enum Content {
    /// A policy, and its master file.
    Policy(Box<PolicySpec>, MasterFile),
    /// A zone without a policy.
    Static(MasterFile),
    /// The files could not be read or parsed.
    Nothing,
}

impl Candidate {
    /// Before anything of it is read.
    fn new(main: &str, place: Place, problems: Problems) -> Candidate {
        Candidate {
            main: main.to_owned(),
            apex: None,
            place,
            content: Content::Nothing,
            master: None,
            master_name: None,
            files: HashSet::new(),
            problems,
            read: Collected::default(),
            octets: 0,
            net_files: BTreeSet::new(),
        }
    }
}

impl Directory<'_> {
    /// The names of the policy and master files in it, sorted. Those that begin with a dot belong to editors and tools.
    /// If there are more than `most`, the last ones are left out, which is a problem. `served` has the main files of
    /// zones that were loaded before: they are never left out.
    pub(super) fn list<'s>(
        &self,
        most: usize,
        served: impl Iterator<Item = &'s str>,
        problems: &mut Problems,
    ) -> Option<Vec<String>> {
        let shown = if self.shown.as_os_str().is_empty() { Path::new(".") } else { self.shown };
        let place = Place::start_of(shown);
        match files::list(self.real, most, makes_zone) {
            Ok(Listing { mut names, left_out: 0 }) => {
                names.extend(self.trials.keys().cloned());
                names.sort();
                names.dedup();
                Some(names)
            }
            Ok(Listing { names, left_out }) => {
                let is_there = |name: &&str| std::fs::symlink_metadata(self.real.join(name)).is_ok();
                let mut all: BTreeSet<String> = names.into_iter().collect();
                let (in_order, before) = (all.len(), all.last().cloned().unwrap_or_default());
                all.extend(served.filter(is_there).map(str::to_owned));
                let count = in_order + left_out;
                let message = format!("{count} files here are or may be zones, and {most} of them are read");
                problems.error(&place, message).hint(format!(
                    "those after `{before}` are not read, except of zones that are served: move some elsewhere"
                ));
                Some(all.into_iter().collect())
            }
            Err(error) => {
                let problem = problems.error(&place, format!("can't read the zones directory: {}", reason(&error)));
                problem.hint("name it in the settings: [zones] dir = \"zones\"");
                None
            }
        }
    }

    /// The zone of the policy file `main`.
    pub(super) fn policy(
        &self,
        main: &str,
        texts: Texts<'_>,
        nets: &mut NetFiles,
        mut problems: Problems,
    ) -> Candidate {
        let shown = self.shown.join(main);
        let whole = Place::start_of(&shown);
        let mut candidate = Candidate::new(main, whole.clone(), problems.separate());
        let bytes = match self.trials.get(main) {
            Some(trial) => {
                texts.note(&shown, trial);
                Some(trial.clone())
            }
            None => read_file(&texts, (&shown, &self.real.join(main)), MAX_POLICY, &whole, &mut problems),
        };
        match bytes {
            Some(bytes) => match spec::read(&shown, &bytes, &mut problems) {
                Some(spec) => self.with_master(spec, &mut candidate, &texts, nets, &mut problems),
                None => self.guess(&bytes, &mut candidate, &texts),
            },
            // A dangling link, for example, has its zone too: otherwise the zone's master file would be served alone,
            // without the steered names.
            None => self.guess(b"", &mut candidate, &texts),
        }
        let octets = texts.octets();
        Candidate { problems, octets, read: texts.into_collected(), ..candidate }
    }

    fn with_master(
        &self,
        mut spec: PolicySpec,
        candidate: &mut Candidate,
        texts: &Texts<'_>,
        nets: &mut NetFiles,
        problems: &mut Problems,
    ) {
        let dirs = (self.shown, self.real);
        candidate.net_files =
            problems.about(ManualSection::Geo, |problems| nets.fill(&mut spec, dirs, texts, problems));
        spec.resolve_sources(self.real);
        (candidate.apex, candidate.place) = (Some(spec.zone.value.clone()), spec.zone.place.clone());
        let file = self.master(&spec, candidate, texts, problems);
        candidate.files.extend(file.included.iter().cloned());
        candidate.content = Content::Policy(Box::new(spec), file);
    }

    /// The master file of a policy. If it can't be read, an empty one takes its place, so that the rest of the policy
    /// can be checked.
    fn master(
        &self,
        spec: &PolicySpec,
        candidate: &mut Candidate,
        texts: &Texts<'_>,
        problems: &mut Problems,
    ) -> MasterFile {
        let (shown, real) = (self.shown.join(&spec.file.value), self.real.join(&spec.file.value));
        let identity = texts.identity(&shown, &real);
        candidate.files.insert(identity.clone());
        candidate.master = Some((identity, spec.file.place.clone()));
        candidate.master_name = Some(spec.file.value.clone());
        let why = match texts.file(&shown, &real, Wall::OwnLinks, MAX_MASTER) {
            Ok(Text { bytes, .. }) => {
                let (at, apex) = (FileAt { shown: &shown, real: &real }, Apex::Named(&spec.zone.value));
                return problems.about(ManualSection::MasterFiles, |problems| {
                    masterfile::read(at, &bytes, apex, texts, &|owner| spec.steered(owner).is_some(), problems)
                });
            }
            Err(unread) => why(unread),
        };
        let message = format!("can't read the zone file {}: {why}", shown.display());
        problems.error(&spec.file.place, message).hint(
            "write that file, with the SOA and NS records of the zone (`portolan init` makes one), or name another \
             with `file = \"NAME.zone\"`, relative to the policy file",
        );
        let at = FileAt { shown: self.shown, real: self.real };
        let mut ignored = Problems::default();
        masterfile::read(at, b"", Apex::Named(&spec.zone.value), texts, &|_| false, &mut ignored)
    }

    /// Guesses the zone and the master file of a policy file that can't be parsed: from its lines before the first
    /// table, else from its name.
    fn guess(&self, bytes: &[u8], candidate: &mut Candidate, texts: &Texts<'_>) {
        let text = String::from_utf8_lossy(bytes);
        let top = text.lines().take_while(|line| !line.trim_start().starts_with('['));
        let value = |key: &str| {
            let written = top.clone().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))?;
            let mut quoted = written.split(['"', '\'']);
            quoted.nth(1).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let stem = candidate.main.strip_suffix(POLICY).unwrap_or(&candidate.main);
        let zone = value("zone").filter(|zone| Name::parse(zone).is_ok()).unwrap_or_else(|| stem.to_owned());
        candidate.apex = Name::parse(&zone).ok();
        let file = value("file").unwrap_or_else(|| format!("{}{MASTER}", zone.trim_end_matches('.')));
        candidate.files.insert(texts.identity(&self.shown.join(&file), &self.real.join(&file)));
    }

    /// The zone of the master file `main` that no policy names.
    pub(super) fn static_zone(&self, main: &str, texts: Texts<'_>, mut problems: Problems) -> Candidate {
        let (shown, real) = (self.shown.join(main), self.real.join(main));
        let place = Place::start_of(&shown);
        let stem = main.strip_suffix(MASTER).unwrap_or(main);
        let mut files = HashSet::new();
        let (apex, content) = match Name::parse(stem) {
            Ok(origin) => match read_file(&texts, (&shown, &real), MAX_MASTER, &place, &mut problems) {
                Some(bytes) => {
                    let at = FileAt { shown: &shown, real: &real };
                    let file = problems.about(ManualSection::MasterFiles, |problems| {
                        masterfile::read(at, &bytes, Apex::Origin(&origin), &texts, &|_| false, problems)
                    });
                    files.extend(file.included.iter().cloned());
                    (Some(file.apex.clone()), Content::Static(file))
                }
                None => (Some(origin), Content::Nothing),
            },
            Err(error) => {
                let problem = problems.error(&place, format!("the file's name is no zone: {error}"));
                problem.hint("a zone without a policy is called ZONE.zone: svc.example.zone");
                (None, Content::Nothing)
            }
        };
        let (octets, read) = (texts.octets(), texts.into_collected());
        Candidate { apex, content, files, octets, read, ..Candidate::new(main, place, problems) }
    }
}

fn read_file(
    texts: &Texts<'_>,
    (shown, real): (&Path, &Path),
    limit: u64,
    whole: &Place,
    problems: &mut Problems,
) -> Option<Arc<[u8]>> {
    match texts.file(shown, real, Wall::OwnLinks, limit) {
        Ok(text) => Some(text.bytes),
        Err(unread) => {
            problems.error(whole, format!("can't read it: {}", why(unread)));
            None
        }
    }
}

fn why(unread: Unread) -> String {
    match unread {
        Unread::Outside => {
            "it is outside the zones directory, and no link of root or of the directory's owner leads there".to_owned()
        }
        Unread::Refused(error) => reason(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_of_a_policy_that_is_no_toml_is_guessed() {
        for (name, text, zone, file) in [
            ("a.policy.toml", "zone = \"svc.example.\"\n[name.www\n", "svc.example.", "svc.example.zone"),
            ("a.policy.toml", "zone='svc.example'\nfile = \"x.zone\" # here\n= =", "svc.example.", "x.zone"),
            ("b.example.policy.toml", "[name]\nzone = \"other.\"\n= =", "b.example.", "b.example.zone"),
            ("b.example.policy.toml", "zone = \"b..example\"", "b.example.", "b.example.zone"),
            ("b.example.policy.toml", "zone = ", "b.example.", "b.example.zone"),
            ("b.example.policy.toml", "\u{0}", "b.example.", "b.example.zone"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(name), text).unwrap();
            let directory = Directory { shown: Path::new("z"), real: dir.path(), trials: &NO_POLICIES };
            let texts = Texts::of_directory(directory.shown, directory.real);
            let found = directory.policy(name, texts, &mut NetFiles::default(), Problems::default());
            assert_eq!(found.apex.map(|apex| apex.to_string()).as_deref(), Some(zone), "{text}");
            assert_eq!(found.files, HashSet::from([dir.path().join(file)]), "{text}");
            assert!(found.problems.errors() > 0);
        }
    }
}
