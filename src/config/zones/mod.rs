//! The directory of the zones: which files there are, which belong together, and each zone in turn to the model. A zone
//! is taken whole or not at all: where its files have errors, or it disappeared only a moment ago, its last good version
//! goes on, and the other zones are not touched by that.

mod candidate;
mod collide;
#[cfg(test)]
mod tests;
mod version;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::net_files::NetFiles;
use crate::config::problem::Problems;
use crate::config::reach::Sought;
use crate::config::settings::Settings;
use crate::config::source::Place;
use crate::config::texts::{Texts, TextsByPath};
use crate::config::validate::Builder;
use crate::model::Model;
use crate::wire::Name;
use candidate::{Candidate, Content, Directory, MASTER, POLICY};
use collide::Right;

pub(super) use version::Before;
pub use version::{Gone, Standing, Version, ZoneState};

/// What reading the directory gave.
pub(super) struct Read {
    /// The zones, but for the clients, which are not placed yet.
    pub(super) model: Model,
    /// How each zone stands, in the order of the model.
    pub(super) zones: Vec<ZoneState>,
    /// Files outside the directory or below it that were read or asked for, and files of nets.
    pub(super) files: Vec<PathBuf>,
    /// By what the zones select clients.
    pub(super) sought: Vec<Sought>,
    /// Zones whose last good version is not valid under these settings.
    pub(super) unfit: Vec<Name>,
}

/// Reads every zone of the directory. Problems are those of the files as they are.
pub(super) fn read(settings: &Settings, before: &Before, problems: &mut Problems) -> Read {
    let model = Model { regions: settings.regions.clone(), clients: settings.clients.clone(), ..Model::default() };
    let dir = Directory { shown: &settings.zones_shown, real: &settings.zones_dir };
    let mut reader = Reader {
        dir,
        before,
        delay: settings.removal_delay.as_secs_f64(),
        builder: Builder::new(model, settings.placing.net_places.clone()),
        problems,
        zones: Vec::new(),
        seen: HashSet::new(),
        unfit: Vec::new(),
    };
    let files = match dir.list(reader.problems) {
        Some(names) => reader.files(&names),
        None => {
            before.zones().iter().for_each(|zone| reader.fall_back(&zone.apex));
            Vec::new()
        }
    };
    let Reader { builder: Builder { model, sought, .. }, zones, unfit, problems, .. } = reader;
    if model.zones.is_empty() && problems.errors() == 0 {
        let message = "there are no zones here, so every query is refused";
        problems
            .warning(&Place::start_of(dir.shown), message)
            .hint("write NAME.zone, and NAME.policy.toml for what is steered");
    }
    Read { model, zones, files, sought, unfit }
}

struct Reader<'a> {
    dir: Directory<'a>,
    before: &'a Before,
    /// How long what disappears goes on, in seconds.
    delay: f64,
    builder: Builder,
    problems: &'a mut Problems,
    zones: Vec<ZoneState>,
    /// Zones that are in the model.
    seen: HashSet<Name>,
    unfit: Vec<Name>,
}

/// A zone that was built.
struct Built {
    apex: Name,
    main: String,
    steered: usize,
    texts: TextsByPath,
}

impl Reader<'_> {
    /// Every zone that files are about or were about; gives the further files that were asked for.
    fn files(&mut self, names: &[String]) -> Vec<PathBuf> {
        let mut nets = NetFiles::default();
        let candidates = self.candidates(names, &mut nets);
        let elsewhere = candidates.iter().flat_map(|candidate| &candidate.read.asked).filter(|path| !is_listed(path));
        let mut files: Vec<PathBuf> = elsewhere.map(|path| self.dir.real.join(path)).collect();
        files.extend(nets.into_paths());
        let rights = collide::rights(&candidates, self.dir, self.before, self.problems);
        for candidate in &candidates {
            if let Content::Static(file) = &candidate.content {
                self.builder.static_zones.take_zone(&file.rrsets);
            }
        }
        for (candidate, right) in candidates.into_iter().zip(rights) {
            self.take(candidate, right);
        }
        let versions = self.before.zones().iter().filter_map(|zone| zone.version.as_ref());
        let gone: Vec<Arc<Version>> = versions.filter(|version| !self.seen.contains(&version.apex)).cloned().collect();
        for version in gone {
            self.vanish(&version, Gone::Zone);
        }
        files
    }

    /// What all files say, each zone by itself.
    fn candidates(&mut self, names: &[String], nets: &mut NetFiles) -> Vec<Candidate> {
        let texts = || Texts::of_directory(self.dir.shown, self.dir.real);
        let apart = || self.problems.apart();
        let policies = names.iter().filter(|name| name.ends_with(POLICY));
        let mut candidates: Vec<Candidate> =
            policies.map(|name| self.dir.policy(name, texts(), nets, apart())).collect();
        let mut parts = HashSet::new();
        for candidate in &mut candidates {
            parts.extend(candidate.files.iter().cloned());
            let version = self.before.version_of(&candidate.main);
            if let (Content::Nothing, Some(version)) = (&candidate.content, version) {
                candidate.apex = Some(version.apex.clone());
                parts.extend(version.texts.keys().map(|path| canonical(&self.dir.real.join(path))));
            }
        }
        let is_own = |name: &str, parts: &HashSet<PathBuf>| !parts.contains(&canonical(&self.dir.real.join(name)));
        let alone = names.iter().filter(|name| name.ends_with(MASTER) && is_own(name, &parts));
        let mut alone: Vec<Candidate> = alone.map(|name| self.dir.static_zone(name, texts(), apart())).collect();
        // Only now is it known which files are but parts of others.
        parts.extend(alone.iter().flat_map(|candidate| candidate.files.iter().cloned()));
        alone.retain(|candidate| is_own(&candidate.main, &parts));
        candidates.extend(alone);
        let apexes: HashSet<Name> = candidates.iter().filter_map(|candidate| candidate.apex.clone()).collect();
        candidates.retain(|candidate| !self.is_remnant(candidate, &apexes));
        candidates
    }

    /// Whether a static zone is only what a policy that disappeared a moment ago has left behind.
    fn is_remnant(&self, candidate: &Candidate, apexes: &HashSet<Name>) -> bool {
        let goes_on = |version: &Arc<Version>| {
            !apexes.contains(&version.apex) && self.before.goes_on_until(&version.apex, self.delay).is_some()
        };
        !candidate.main.ends_with(POLICY) && self.before.versions_with(Path::new(&candidate.main)).any(goes_on)
    }

    /// Serves a candidate, or what its zone was before.
    fn take(&mut self, candidate: Candidate, right: Right) {
        let (apex, mark) = (candidate.apex.clone(), self.builder.mark());
        let mut found = self.problems.apart();
        let built = self.build(candidate, &mut found);
        self.problems.extend(found);
        let Some(built) = built.filter(|_| right == Right::Own) else {
            self.builder.take_back(&mark);
            if let (Some(apex), Right::Own | Right::Bad) = (apex, right) {
                self.fall_back(&apex);
            }
            return;
        };
        if let Some(version) = self.before.version(&built.apex).cloned() {
            let lost_all = version.steered > 0 && built.steered == 0;
            if lost_all && self.before.goes_on_until(&built.apex, self.delay).is_some() {
                self.builder.take_back(&mark);
                return self.vanish(&version, Gone::Names);
            }
        }
        self.enter(built);
    }

    /// Notes a zone that is served as its files are.
    fn enter(&mut self, built: Built) {
        let Built { apex, main, steered, texts } = built;
        let known = self.before.version(&apex).filter(|version| version.main == main && version.texts == texts);
        let since = self.before.now();
        let version = known.cloned();
        let version = version.unwrap_or_else(|| Arc::new(Version { apex: apex.clone(), main, steered, since, texts }));
        self.note(apex, Standing::Current, Some(version));
    }

    fn note(&mut self, apex: Name, standing: Standing, version: Option<Arc<Version>>) {
        self.seen.insert(apex.clone());
        self.zones.push(ZoneState { apex, standing, version });
    }

    /// Adds what a candidate says to the model; `None` where it isn't valid.
    fn build(&mut self, candidate: Candidate, problems: &mut Problems) -> Option<Built> {
        let Candidate { apex, main, content, problems: found, read, .. } = candidate;
        problems.extend(found);
        let steered = match content {
            Content::Policy(spec, file) => {
                self.builder.add(&spec, file, 0, problems);
                spec.names.len()
            }
            Content::Static(file) => {
                self.builder.add_static(file);
                0
            }
            Content::Nothing => return None,
        };
        (problems.errors() == 0).then_some(Built { apex: apex?, main, steered, texts: read.texts })
    }

    /// The last good version of a zone whose files are bad.
    fn fall_back(&mut self, apex: &Name) {
        if self.seen.contains(apex) {
            return;
        }
        let version = self.before.version(apex).cloned();
        if version.as_ref().is_some_and(|version| self.rebuild(version)) {
            return self.note(apex.clone(), Standing::Kept, version);
        }
        if version.is_some() {
            self.unfit.push(apex.clone());
        }
        self.builder.add_unserved(apex.clone());
        self.note(apex.clone(), Standing::Unserved, version);
    }

    /// The last good version of what disappeared, for as long as it goes on.
    fn vanish(&mut self, version: &Arc<Version>, gone: Gone) {
        let Some(until) = self.before.goes_on_until(&version.apex, self.delay) else { return };
        match self.rebuild(version) {
            true => self.note(version.apex.clone(), Standing::Vanished(gone, until), Some(version.clone())),
            false => self.unfit.push(version.apex.clone()),
        }
    }

    /// Adds an earlier version of a zone to the model, if it is valid under the settings of today.
    fn rebuild(&mut self, version: &Version) -> bool {
        let mark = self.builder.mark();
        let texts = Texts::of_version(self.dir.shown, &version.texts);
        let candidate = match version.main.ends_with(POLICY) {
            true => self.dir.policy(&version.main, texts, &mut NetFiles::default(), Problems::default()),
            false => self.dir.static_zone(&version.main, texts, Problems::default()),
        };
        let built = self.build(candidate, &mut Problems::default());
        let is_good = built.is_some_and(|built| built.apex == version.apex);
        match is_good {
            true => self.builder.leave_unjudged(&mark),
            false => self.builder.take_back(&mark),
        }
        is_good
    }
}

/// Whether whoever watches the directory for zones sees this file too.
fn is_listed(path: &Path) -> bool {
    let is_zone = path.to_str().is_some_and(|name| name.ends_with(POLICY) || name.ends_with(MASTER));
    is_zone && path.components().count() == 1
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
