//! Reads the zones directory: lists its files, finds which of them belong to one zone, and adds each zone to the model.
//! A zone is accepted as a whole or not at all. If its files have errors, or if it disappeared a moment ago, its last
//! good version is served. That does not affect the other zones.

mod candidate;
mod collide;
mod filled;
mod nested;
mod shares;
#[cfg(test)]
mod tests;
mod version;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::net_files::NetFiles;
use crate::config::reach::Sought;
use crate::config::settings::Settings;
use crate::config::validate::Builder;
use crate::model::{Model, SelectorId, ZoneId};
use crate::source::{Problem, Problems, Texts, TextsByPath, files};
use crate::wire::Name;
use candidate::{Candidate, Content, Directory, MASTER, NO_POLICIES, POLICY};
use collide::CollisionResult;
use nested::ZoneApexes;

pub use candidate::PolicyTexts;
pub(crate) use candidate::makes_zone;
pub(super) use version::ZoneHistory;
pub use version::{Disappearance, Version, VersionStatus, ZoneState};

/// What was read from the directory.
pub(super) struct ReadZones {
    /// The zones. Its clients are not placed yet.
    pub(super) model: Model,
    /// The state of each zone, in the order of the model.
    pub(super) zones: Vec<ZoneState>,
    /// Files to watch besides the zone files in the directory itself: files elsewhere that were read or that could
    /// not be read, and files of nets.
    pub(super) files: Vec<PathBuf>,
    /// What the zones select clients by.
    pub(super) sought: Vec<Sought>,
    /// Which zone uses which selector.
    pub(super) uses: Vec<(ZoneId, SelectorId)>,
    /// Zones whose last good version is not valid under these settings.
    pub(super) invalid: Vec<Name>,
}

/// Zones that are left out of a load because all zones together exceed a bound that is known only after they are read.
pub(super) type ZonesLeftOut = HashMap<Name, WhyLeftOut>;

/// Why a zone is left out.
#[derive(Debug)]
pub(super) struct WhyLeftOut {
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: &'static str,
    /// Whether not even its last good version is served, because that exceeds the bound as well.
    pub(super) is_unserved: bool,
}

/// Reads every zone of the directory. The problems are those of the files as they are now.
pub(super) fn read(
    settings: &Settings,
    before: &ZoneHistory,
    left_out: &ZonesLeftOut,
    problems: &mut Problems,
) -> ReadZones {
    read_with(settings, before, left_out, &NO_POLICIES, problems)
}

/// Checks policy files before they are written, together with the other files as they are. An error has the problems
/// of all files, and means that one of these policies would not be served.
pub fn try_policies(settings: &Settings, policies: &PolicyTexts) -> Result<(), Vec<Problem>> {
    let (mut problems, before) = (Problems::default(), ZoneHistory::new(Arc::default(), 0.0, false));
    let read = read_with(settings, &before, &ZonesLeftOut::new(), policies, &mut problems);
    let accepted: HashSet<&str> = read.zones.iter().filter_map(|zone| Some(&*zone.version.as_ref()?.main)).collect();
    match policies.keys().all(|main| accepted.contains(main.as_str())) {
        true => Ok(()),
        false => Err(problems.into_sorted()),
    }
}

fn read_with(
    settings: &Settings,
    before: &ZoneHistory,
    left_out: &ZonesLeftOut,
    trials: &PolicyTexts,
    problems: &mut Problems,
) -> ReadZones {
    let model = Model { regions: settings.regions.clone(), clients: settings.clients.clone(), ..Model::default() };
    let dir = Directory { shown: &settings.zones_shown, real: &settings.zones_dir, trials };
    let mut reader = Reader {
        dir,
        before,
        delay: settings.removal_delay.as_secs_f64(),
        builder: Builder::new(model, settings.placing.net_places.clone(), settings.is_in_fleet),
        problems,
        zones: Vec::new(),
        seen: HashSet::new(),
        left_out,
        invalid: Vec::new(),
        apexes: ZoneApexes::default(),
    };
    let served = before.zones().iter().filter_map(|zone| Some(&*zone.version.as_ref()?.main));
    let files = match dir.list(files::MAX_ENTRIES, served, reader.problems) {
        Some(names) => reader.files(&names),
        None => {
            before.zones().iter().for_each(|zone| reader.fall_back(&zone.apex));
            Vec::new()
        }
    };
    let Reader { builder: Builder { model, sought, uses, .. }, zones, invalid, .. } = reader;
    ReadZones { model, zones, files, sought, uses, invalid }
}

struct Reader<'a> {
    dir: Directory<'a>,
    before: &'a ZoneHistory,
    /// How long zones and names are still served after they disappeared, in seconds.
    delay: f64,
    builder: Builder,
    problems: &'a mut Problems,
    zones: Vec<ZoneState>,
    /// The zones that are in the model.
    seen: HashSet<Name>,
    left_out: &'a ZonesLeftOut,
    invalid: Vec<Name>,
    /// The zones that have files.
    apexes: ZoneApexes,
}

/// A zone that was built.
struct Built {
    apex: Name,
    main: String,
    steered: usize,
    texts: TextsByPath,
}

impl Reader<'_> {
    /// Adds every zone that has files now or had files before. Returns the files to watch, as in [`ReadZones::files`].
    fn files(&mut self, names: &[String]) -> Vec<PathBuf> {
        let mut nets = NetFiles::default();
        let candidates = self.candidates(names, &mut nets);
        let elsewhere =
            candidates.iter().flat_map(|candidate| &candidate.read.requested).filter(|path| !is_listed(path));
        let mut files: Vec<PathBuf> = elsewhere.map(|path| self.dir.real.join(path)).collect();
        files.extend(nets.into_paths());
        let results = collide::resolve(&candidates, self.dir, self.before, self.problems);
        self.apexes = ZoneApexes::of(&candidates);
        for candidate in &candidates {
            if let Content::Static(file) = &candidate.content {
                self.builder.links.take_zone(&file.rrsets);
            }
        }
        for (candidate, result) in candidates.into_iter().zip(results) {
            self.add(candidate, result);
        }
        let versions = self.before.zones().iter().filter_map(|zone| zone.version.as_ref());
        let gone: Vec<Arc<Version>> = versions.filter(|version| !self.seen.contains(&version.apex)).cloned().collect();
        for version in gone {
            self.vanish(&version, Disappearance::Zone);
        }
        files
    }

    /// The zones as their files are now.
    fn candidates(&mut self, names: &[String], nets: &mut NetFiles) -> Vec<Candidate> {
        let texts = || Texts::of_directory(self.dir.shown, self.dir.real);
        let separate = || self.problems.separate();
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut read = shares::ReadOctets::default();
        for name in names.iter().filter(|name| name.ends_with(POLICY)) {
            candidates.push(self.dir.policy(name, texts(), nets, separate()));
            shares::settle_read(&mut candidates, &mut read, nets);
        }
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
        let first_alone = candidates.len();
        for name in names.iter().filter(|name| name.ends_with(MASTER) && is_own(name, &parts)) {
            candidates.push(self.dir.static_zone(name, texts(), separate()));
            shares::settle_read(&mut candidates, &mut read, nets);
        }
        // Only now it is known which files are included by others.
        parts.extend(candidates[first_alone..].iter().flat_map(|candidate| candidate.files.iter().cloned()));
        let mut alone = candidates.split_off(first_alone);
        alone.retain(|candidate| is_own(&candidate.main, &parts));
        candidates.extend(alone);
        shares::settle_policies(&mut candidates, nets);
        let apexes: HashSet<Name> = candidates.iter().filter_map(|candidate| candidate.apex.clone()).collect();
        candidates.retain(|candidate| !self.is_left_over(candidate, &apexes));
        candidates
    }

    /// Whether a static zone is only the master file of a policy that disappeared a moment ago.
    fn is_left_over(&self, candidate: &Candidate, apexes: &HashSet<Name>) -> bool {
        let is_still_served = |version: &Arc<Version>| {
            !apexes.contains(&version.apex) && self.before.served_until(&version.apex, self.delay).is_some()
        };
        !candidate.main.ends_with(POLICY) && self.before.versions_with(Path::new(&candidate.main)).any(is_still_served)
    }

    /// Adds the zone of a candidate to the model, or its last good version.
    fn add(&mut self, candidate: Candidate, result: CollisionResult) {
        let (apex, mark, place) = (candidate.apex.clone(), self.builder.mark(), candidate.place.clone());
        let mut found = self.problems.separate();
        self.apexes.check(&candidate, &mut found);
        let built = self.build(candidate, &mut found).filter(|_| result == CollisionResult::Accepted);
        let left_out = built.as_ref().and_then(|built| self.left_out.get(&built.apex));
        if let Some(WhyLeftOut { message, hint, .. }) = left_out {
            found.error(&place, message.as_str()).hint(*hint);
        }
        self.problems.extend(found);
        let Some(built) = built.filter(|_| left_out.is_none()) else {
            self.builder.take_back(&mark);
            if let (Some(apex), CollisionResult::Accepted | CollisionResult::Bad) = (apex, result) {
                self.fall_back(&apex);
            }
            return;
        };
        if let Some(version) = self.before.version(&built.apex).cloned() {
            let lost_all = version.steered > 0 && built.steered == 0;
            if lost_all && self.before.served_until(&built.apex, self.delay).is_some() {
                self.builder.take_back(&mark);
                return self.vanish(&version, Disappearance::Names);
            }
        }
        self.accept(built);
    }

    /// Records a zone that is served as its files are now.
    fn accept(&mut self, built: Built) {
        let Built { apex, main, steered, texts } = built;
        let known = self.before.version(&apex).filter(|version| version.main == main && version.texts == texts);
        let since = self.before.now();
        let version = known.cloned();
        let version = version.unwrap_or_else(|| Arc::new(Version { apex: apex.clone(), main, steered, since, texts }));
        self.record(apex, VersionStatus::Current, Some(version));
    }

    fn record(&mut self, apex: Name, status: VersionStatus, version: Option<Arc<Version>>) {
        self.seen.insert(apex.clone());
        self.zones.push(ZoneState { apex, status, version });
    }

    /// Adds a candidate to the model; `None` if it is not valid.
    fn build(&mut self, candidate: Candidate, problems: &mut Problems) -> Option<Built> {
        let Candidate { apex, main, content, problems: found, read, .. } = candidate;
        problems.extend(found);
        let steered = match content {
            Content::Policy(spec, file) => {
                let steered = spec.names.len();
                match spec.sources() {
                    [] => self.builder.add(&spec, file, 0, problems),
                    [..] => filled::add(&mut self.builder, spec, file, self.before, problems),
                }
                steered
            }
            Content::Static(file) => {
                self.builder.add_static(file);
                0
            }
            Content::Nothing => return None,
        };
        (problems.errors() == 0).then_some(Built { apex: apex?, main, steered, texts: read.texts })
    }

    /// Adds the last good version of a zone whose files have errors. Without one, the zone is not served.
    fn fall_back(&mut self, apex: &Name) {
        if self.seen.contains(apex) {
            return;
        }
        let version = self.before.version(apex).cloned();
        if !self.is_unserved(apex) {
            if version.as_ref().is_some_and(|version| self.rebuild(version)) {
                return self.record(apex.clone(), VersionStatus::LastGood, version);
            }
            if version.is_some() {
                self.invalid.push(apex.clone());
            }
        }
        self.builder.add_unserved(apex.clone());
        self.record(apex.clone(), VersionStatus::Unserved, version);
    }

    fn is_unserved(&self, apex: &Name) -> bool {
        self.left_out.get(apex).is_some_and(|why| why.is_unserved)
    }

    /// Adds the last good version of a zone that disappeared, or whose names did, while it is still served.
    fn vanish(&mut self, version: &Arc<Version>, gone: Disappearance) {
        let Some(until) = self.before.served_until(&version.apex, self.delay) else { return };
        if self.is_unserved(&version.apex) {
            return self.fall_back(&version.apex);
        }
        match self.rebuild(version) {
            true => self.record(version.apex.clone(), VersionStatus::Vanished(gone, until), Some(version.clone())),
            false => self.invalid.push(version.apex.clone()),
        }
    }

    /// Adds an earlier version of a zone to the model, if it is valid under the present settings.
    fn rebuild(&mut self, version: &Version) -> bool {
        let mark = self.builder.mark();
        let texts = Texts::of_version(self.dir.shown, &version.texts);
        let mut candidate = match version.main.ends_with(POLICY) {
            true => self.dir.policy(&version.main, texts, &mut NetFiles::default(), Problems::default()),
            false => self.dir.static_zone(&version.main, texts, Problems::default()),
        };
        self.apexes.remove_hidden(&mut candidate);
        let built = self.build(candidate, &mut Problems::default());
        let is_good = built.is_some_and(|built| built.apex == version.apex);
        match is_good {
            true => self.builder.leave_unjudged(&mark),
            false => self.builder.take_back(&mark),
        }
        is_good
    }
}

/// Whether this file is watched anyway, as one of the zone files in the directory itself.
fn is_listed(path: &Path) -> bool {
    let is_zone = path.to_str().is_some_and(makes_zone);
    is_zone && path.components().count() == 1
}

fn canonical(path: &Path) -> PathBuf {
    files::canonical(path).unwrap_or_else(|_| path.to_path_buf())
}
