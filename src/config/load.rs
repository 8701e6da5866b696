//! One load of all files: settings, the files that they name, and the zones. Each of these parts is taken by itself:
//! where one is bad, what was in force before goes on in its place, and the rest is taken. Only where nothing was in force
//! before, and it would not be safe to do without, nothing is loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::clients;
use crate::config::log::LogFormat;
use crate::config::manual::Section;
use crate::config::problem::{Part, Problem, Problems, Severity};
use crate::config::settings::{self, Flags, Settings};
use crate::config::source::Place;
use crate::config::zones::{self, Before, Gone, Standing, ZoneState};
use crate::model::{Model, Placement};
use crate::wire::Name;

/// Everything that `serve` needs.
#[derive(Debug)]
pub struct Loaded {
    /// Where this node stands and what it listens on.
    pub settings: Settings,
    /// What the zones say.
    pub model: Model,
    /// What is hardly meant, sorted by file and line.
    pub warnings: Vec<Problem>,
    /// What was not taken from the files as they are, and why; empty where all of it was.
    pub refused: Vec<Problem>,
    /// How each zone stands, in the order of the model.
    pub zones: Arc<[ZoneState]>,
    /// Further files that all this was made from, such as files of nets and databases: absolute paths, sorted, to be watched.
    pub files: Vec<PathBuf>,
    /// Whether any of it differs from what was in force, as far as that is known.
    pub is_news: bool,
}

/// What is in force while the files are loaded again.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The settings.
    pub settings: Arc<Settings>,
    /// What the zones say.
    pub model: Arc<Model>,
    /// How each zone stands.
    pub zones: Arc<[ZoneState]>,
}

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// The settings file; without, only the environment and the flags count.
    pub settings_file: Option<&'a Path>,
    /// Flags of the command line.
    pub flags: &'a Flags,
    /// Now, Unix seconds.
    pub now: f64,
    /// Whether zones and names that disappeared from the files are to go at once.
    pub confirm_removal: bool,
}

/// Loads for a start: `recall` gives the versions of the zones that were kept in the state directory of the settings.
pub fn start(how: How<'_>, recall: impl FnOnce(&Settings) -> Vec<ZoneState>) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let settings = settings::read(how.settings_file, settings::environment(), how.flags, &mut problems);
    let Some(settings) = settings.filter(|_| problems.errors_outside_parts() == 0) else {
        return Err(problems.into_sorted());
    };
    let before = Before::new(recall(&settings).into(), how.now, how.confirm_removal);
    finish(settings, None, &before, problems)
}

/// Loads the files again.
pub fn again(how: How<'_>, in_force: &InForce) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let settings = settings::read(how.settings_file, settings::environment(), how.flags, &mut problems);
    let settings = settings.filter(|_| problems.errors_outside_parts() == 0);
    let before = Before::new(in_force.zones.clone(), how.now, how.confirm_removal);
    let Some(settings) = settings else {
        return finish((*in_force.settings).clone(), Some(in_force), &before, problems);
    };
    let settings = settings.with_parts_of(Some(&in_force.settings), &problems);
    let mut trial = Problems::default();
    let read = zones::read(&settings, &before, &mut trial);
    if read.unfit.is_empty() {
        problems.extend(trial);
        return placed(settings, read, Some(in_force), problems);
    }
    let file = how.settings_file.unwrap_or(Path::new("portolan.toml"));
    for apex in &read.unfit {
        let message =
            format!("the last good version of {apex} is not valid under these settings; the settings before go on");
        let problem = problems.error(&Place::start_of(file), message);
        problem.hint("put its files right first, or take back what the zone needs, such as a region");
    }
    finish((*in_force.settings).clone(), Some(in_force), &before, problems)
}

fn finish(
    settings: Settings,
    in_force: Option<&InForce>,
    before: &Before,
    mut problems: Problems,
) -> Result<Loaded, Vec<Problem>> {
    let read = zones::read(&settings, before, &mut problems);
    // What stood in for a directory that can't be read is something; nothing at all is a slip in the settings.
    if read.zones.is_empty() && problems.errors_outside_parts() > 0 {
        return Err(problems.into_sorted());
    }
    placed(settings, read, in_force, problems)
}

/// Places the clients, and says what was not taken.
fn placed(
    settings: Settings,
    read: zones::Read,
    in_force: Option<&InForce>,
    mut problems: Problems,
) -> Result<Loaded, Vec<Problem>> {
    let zones::Read { mut model, zones, mut files, sought, unfit: _ } = read;
    let served = in_force.map(|in_force| &*in_force.model);
    let is_placed = problems.about(Section::Clients, |problems| {
        clients::place(&settings, (&mut model, &sought), served, &mut files, problems)
    });
    if !is_placed {
        return Err(problems.into_sorted());
    }
    files.extend(settings.side_files());
    files.sort();
    files.dedup();
    let all_parts = [Part::Certificate, Part::Tokens, Part::CookieSecrets];
    let bad_parts = all_parts.into_iter().filter(|part| problems.is_bad(*part));
    let off: Vec<Problem> = bad_parts.filter_map(|part| without(part, &settings)).collect();
    let (mut refused, warnings): (Vec<_>, Vec<_>) =
        problems.into_sorted().into_iter().partition(|problem| problem.severity == Severity::Error);
    refused.extend(off);
    refused.extend(zones.iter().filter_map(|zone| standing(zone, &settings)));
    let zones: Arc<[ZoneState]> = zones.into();
    let is_news = refused.is_empty() || in_force.is_none_or(|in_force| differs(&settings, &model, &zones, in_force));
    Ok(Loaded { settings, model, warnings, refused, zones, files, is_news })
}

/// Whether this differs from what is in force.
fn differs(settings: &Settings, model: &Model, zones: &[ZoneState], in_force: &InForce) -> bool {
    let old: HashMap<&Name, &ZoneState> = in_force.zones.iter().map(|zone| (&zone.apex, zone)).collect();
    let is_served = |zone: &ZoneState| zone.standing != Standing::Unserved;
    let version = |zone: &ZoneState| zone.version.as_ref().map(Arc::as_ptr);
    let is_same = |new: &ZoneState| {
        old.get(&new.apex).is_some_and(|old| version(new) == version(old) && is_served(new) == is_served(old))
    };
    let databases = |model: &Model| {
        let known = model.clients.placement.as_deref().map_or(&[][..], Placement::databases);
        known.iter().map(Arc::as_ptr).collect::<Vec<_>>()
    };
    zones.len() != in_force.zones.len()
        || !zones.iter().all(is_same)
        || settings.differs(&in_force.settings)
        || databases(model) != databases(&in_force.model)
}

/// What is done without a part that was never good.
fn without(part: Part, settings: &Settings) -> Option<Problem> {
    let (file, is_off, message) = match part {
        Part::Tokens => (
            settings.operators.token_file.clone(),
            settings.operators.tokens.is_none(),
            "without tokens every call that changes something is off",
        ),
        Part::CookieSecrets => (
            settings.guard.secret_file.clone(),
            settings.guard.cookies.is_none(),
            "DNS cookies are made with a secret of this process, which other nodes don't know",
        ),
        Part::Certificate => {
            let tls = settings.tls.as_ref();
            (
                tls.map(|tls| tls.cert.clone()),
                true,
                "without a certificate no DoT, DoH or DoQ connection is accepted, unless one was shown before",
            )
        }
    };
    is_off.then(|| Problem::of_file(file.unwrap_or_default(), Severity::Warning, message.to_owned()))
}

/// What is said of a zone that is not served as its files are.
fn standing(zone: &ZoneState, settings: &Settings) -> Option<Problem> {
    let ZoneState { apex, standing, version } = zone;
    let since = version.as_ref().map(|version| utc(version.since)).unwrap_or_default();
    let hint = Some("put it back, or confirm with `portolan reload --confirm-removal`".to_owned());
    let (message, hint) = match standing {
        Standing::Current => return None,
        Standing::Kept => (format!("{apex} goes on with its last good version, of {since}"), None),
        Standing::Unserved => (format!("{apex} is not served: its names get SERVFAIL until its files are right"), None),
        Standing::Vanished(Gone::Zone, until) => {
            (format!("{apex} disappeared from the files; it is served until {}", utc(*until)), hint)
        }
        Standing::Vanished(Gone::Names, until) => (
            format!("all steered names of {apex} disappeared from the files; they are served until {}", utc(*until)),
            hint,
        ),
    };
    let file =
        version.as_ref().map_or(settings.zones_shown.clone(), |version| settings.zones_shown.join(&version.main));
    Some(Problem { hint, ..Problem::of_file(file, Severity::Warning, message) })
}

/// A time for people.
fn utc(unix_seconds: f64) -> String {
    let since = std::time::Duration::try_from_secs_f64(unix_seconds).unwrap_or_default();
    let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string();
    time.replace('T', " ").replace('Z', " UTC")
}

/// Loads settings and zones, where all of it must be good. With an error anywhere nothing is loaded, and everything found
/// in any file comes back, warnings too, sorted by file and line. Without a file only the environment and the flags count.
pub fn load(settings_file: Option<&Path>, flags: &Flags) -> Result<Loaded, Vec<Problem>> {
    load_after(None, settings_file, flags)
}

/// As [`load`], and what `before` was made of isn't decoded and compiled again where it is the same: databases are large.
pub fn load_after(before: Option<&Model>, settings_file: Option<&Path>, flags: &Flags) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let Some(settings) = settings::read(settings_file, settings::environment(), flags, &mut problems) else {
        return Err(problems.into_sorted());
    };
    let (model, zones, files) = whole(&settings, before, &mut problems);
    match problems.errors() {
        0 => {
            let warnings = problems.into_sorted();
            Ok(Loaded { settings, model, warnings, refused: Vec::new(), zones, files, is_news: true })
        }
        _ => Err(problems.into_sorted()),
    }
}

/// The format of the log as the settings choose it, whatever else is wrong with them: their problems are logged in it.
pub fn log_format(settings_file: Option<&Path>, flags: &Flags) -> Option<LogFormat> {
    settings::read(settings_file, settings::environment(), flags, &mut Problems::default())?.log
}

/// Reads the zones again, under settings as they were read at the start: the new model and its warnings, or all problems.
pub fn reload(settings: &Settings) -> Result<(Model, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    let (model, ..) = whole(settings, None, &mut problems);
    match problems.errors() {
        0 => Ok((model, problems.into_sorted())),
        _ => Err(problems.into_sorted()),
    }
}

/// The zones under these settings, with every client placed, and the further files that were read.
pub(super) fn whole(
    settings: &Settings,
    before: Option<&Model>,
    problems: &mut Problems,
) -> (Model, Arc<[ZoneState]>, Vec<PathBuf>) {
    let now = crate::clock::unix_seconds();
    let zones::Read { mut model, zones, mut files, sought, .. } =
        zones::read(settings, &Before::new(Arc::default(), now, false), problems);
    problems.about(Section::Clients, |problems| {
        // Whether it went well is to be seen from the problems.
        let _ = clients::place(settings, (&mut model, &sought), before, &mut files, problems);
    });
    files.extend(settings.side_files());
    files.sort();
    files.dedup();
    (model, zones.into(), files)
}
