//! The directory of the zones: which files there are, which belong together, and each zone in turn to the model. The
//! only file of this module that lists a directory.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::config::manual::Section;
use crate::config::net_files::NetFiles;
use crate::config::problem::{Problems, reason};
use crate::config::settings::Settings;
use crate::config::source::Place;
use crate::config::spec::{self, PolicySpec};
use crate::config::validate::{self, Builder};
use crate::config::zonefile::{self, Apex, FileAt, MasterFile};
use crate::model::Model;
use crate::wire::Name;

/// The end of a policy file's name.
const POLICY: &str = ".policy.toml";
/// The end of a master file's name.
const MASTER: &str = ".zone";

/// Reads every zone of the directory: the model, and the files outside the pairs of policy and master file that it
/// was made from. With errors among the problems the model is not to be used.
pub(super) fn read(settings: &Settings, problems: &mut Problems) -> (Model, Vec<PathBuf>) {
    let model = Model { regions: settings.regions.clone(), clients: settings.clients.clone(), ..Model::default() };
    let mut builder = Builder::new(model, settings.placing.net_places.clone());
    let dir = Directory { shown: &settings.zones_shown, real: &settings.zones_dir };
    let Some(files) = dir.list(problems) else { return (builder.model, Vec::new()) };
    let mut known = Known::default();
    for name in files.iter().filter(|name| name.ends_with(POLICY)) {
        dir.policy_zone(name, &mut known, &mut builder, problems);
    }
    let mut plain = Vec::new();
    for name in files.iter().filter(|name| name.ends_with(MASTER)) {
        let real = dir.real.join(name);
        if known.files.contains(&canonical(&real)) {
            continue;
        }
        let mut own = problems.apart();
        let file = dir.static_zone(name, &mut own);
        known.files.extend(file.iter().flat_map(|file| file.included.iter().cloned()));
        plain.push((name, real, file, own));
    }
    // Only now is it known which files are but parts of others.
    for (name, real, file, own) in plain {
        if known.files.contains(&canonical(&real)) {
            continue;
        }
        problems.extend(own);
        if let Some(file) = file {
            known.claim(&file.apex, &Place::start_of(&dir.shown.join(name)), problems);
            builder.add_static(file);
        }
    }
    if builder.model.zones.is_empty() && problems.errors() == 0 {
        let message = "there are no zones here, so every query is refused";
        problems
            .warning(&Place::start_of(dir.shown), message)
            .hint("write NAME.zone, and NAME.policy.toml for what is steered");
    }
    (builder.model, known.net_files.into_paths())
}

/// What has been seen.
#[derive(Default)]
struct Known {
    /// Where each zone was first declared.
    zones: HashMap<Name, Place>,
    /// Master files that belong to a zone already.
    files: HashSet<PathBuf>,
    /// Where a policy names each master file.
    masters: HashMap<PathBuf, Place>,
    /// Files of nets that policies name.
    net_files: NetFiles,
}

impl Known {
    /// Takes a zone's name; a problem when another file has it.
    fn claim(&mut self, apex: &Name, place: &Place, problems: &mut Problems) {
        if let Some(first) = self.zones.get(apex) {
            let message = format!("the zone {apex} is declared twice, also in {}", first.file.display());
            let problem = problems.error(place, message).label(first, "declared here too");
            problem.hint("remove one of the files, or move it out of the zones directory");
            return;
        }
        self.zones.insert(apex.clone(), place.clone());
    }
}

struct Directory<'a> {
    shown: &'a Path,
    real: &'a Path,
}

impl Directory<'_> {
    /// Names of the files in it, sorted; those that begin with a dot are editors' and tools'.
    fn list(&self, problems: &mut Problems) -> Option<Vec<String>> {
        let entries = std::fs::read_dir(self.real).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        match entries {
            Ok(entries) => {
                let name = |entry: std::fs::DirEntry| entry.file_name().into_string().ok();
                let mut names: Vec<String> =
                    entries.into_iter().filter(|e| !e.path().is_dir()).filter_map(name).collect();
                names.retain(|name| !name.starts_with('.'));
                names.sort();
                Some(names)
            }
            Err(error) => {
                let shown = if self.shown.as_os_str().is_empty() { Path::new(".") } else { self.shown };
                let problem = problems
                    .error(&Place::start_of(shown), format!("can't read the zones directory: {}", reason(&error)));
                problem.hint("name it in the settings: [zones] dir = \"zones\"");
                None
            }
        }
    }

    fn policy_zone(&self, name: &str, known: &mut Known, builder: &mut Builder, problems: &mut Problems) {
        let shown = self.shown.join(name);
        let errors_before = problems.errors();
        let Some(bytes) = read_file(&self.real.join(name), &Place::start_of(&shown), problems) else { return };
        let Some(mut spec) = spec::read(&shown, &bytes, problems) else { return };
        problems.about(Section::Geo, |problems| known.net_files.fill(&mut spec, self.shown, self.real, problems));
        known.claim(&spec.zone.value, &spec.zone.place, problems);
        if let Some(file) = self.master(&spec, known, problems) {
            builder.add(&spec, file, errors_before, problems);
        }
    }

    /// The master file of a policy. Where it can't be read the policy is judged against an empty one.
    fn master(&self, spec: &PolicySpec, known: &mut Known, problems: &mut Problems) -> Option<MasterFile> {
        let (shown, real) = (self.shown.join(&spec.file.value), self.real.join(&spec.file.value));
        known.files.insert(canonical(&real));
        if let Some(first) = known.masters.insert(canonical(&real), spec.file.place.clone()) {
            let message = format!("{} is the master file of two policies", shown.display());
            let problem = problems.error(&spec.file.place, message).label(&first, "the other policy");
            problem.hint("each zone has a file of its own: write `file = \"NAME.zone\"`");
        }
        let bytes = match std::fs::read(&real) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("can't read the zone file {}: {}", shown.display(), reason(&error));
                problems
                    .error(&spec.file.place, message)
                    .hint("write `file = \"NAME.zone\"`, relative to the policy file");
                return Some(self.empty(spec));
            }
        };
        let owners = validate::owners(spec);
        let at = FileAt { shown: &shown, real: &real };
        let apex = Apex::Named(&spec.zone.value);
        let file = problems
            .about(Section::MasterFiles, |problems| zonefile::read(at, &bytes, apex, self.real, &owners, problems));
        known.files.extend(file.included.iter().cloned());
        Some(file)
    }

    /// Stands for a file that isn't there, so that the rest of the policy can be judged.
    fn empty(&self, spec: &PolicySpec) -> MasterFile {
        let at = FileAt { shown: self.shown, real: self.real };
        let mut unsaid = Problems::default();
        zonefile::read(at, b"", Apex::Named(&spec.zone.value), self.real, &HashSet::new(), &mut unsaid)
    }

    fn static_zone(&self, name: &str, problems: &mut Problems) -> Option<MasterFile> {
        let (shown, real) = (self.shown.join(name), self.real.join(name));
        let whole = Place::start_of(&shown);
        let origin = match Name::parse(name.strip_suffix(MASTER).unwrap_or(name)) {
            Ok(origin) => origin,
            Err(error) => {
                let problem = problems.error(&whole, format!("the file's name is no zone: {error}"));
                problem.hint("a zone without a policy is called ZONE.zone: svc.example.zone");
                return None;
            }
        };
        let bytes = read_file(&real, &whole, problems)?;
        let at = FileAt { shown: &shown, real: &real };
        problems.about(Section::MasterFiles, |problems| {
            Some(zonefile::read(at, &bytes, Apex::Origin(&origin), self.real, &HashSet::new(), problems))
        })
    }
}

fn read_file(real: &Path, whole: &Place, problems: &mut Problems) -> Option<Vec<u8>> {
    std::fs::read(real).map_err(|error| problems.error(whole, format!("can't read it: {}", reason(&error)))).ok()
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
