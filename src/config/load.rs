//! Loads all files: the settings, the files that they name, and the zones. Each of these parts is accepted or refused
//! on its own. If one has errors, its previous version stays in force, and the other parts are accepted. Nothing is
//! loaded only if a part has errors, has no previous version, and can't safely be left out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::classes::{self, LoadedZones};
use crate::config::clients;
use crate::config::log::LogFormat;
use crate::config::settings::{self, Flags, Settings};
use crate::config::sinks::SinkSettings;
use crate::config::zones::{Disappearance, VersionStatus, ZoneHistory, ZoneState};
use crate::model::{DiscoveredSets, Model};
use crate::source::{Place, Problem, Problems, Severity, SideFile};
use crate::wire::Name;

/// Everything that `serve` needs.
#[derive(Debug)]
pub struct Loaded {
    /// The settings of this node.
    pub settings: Settings,
    /// The zones.
    pub model: Model,
    /// Warnings, sorted by file and line.
    pub warnings: Vec<Problem>,
    /// Why parts of the files were refused; empty if all were accepted.
    pub refused: Vec<Problem>,
    /// The state of each zone, in the order of the model.
    pub zones: Arc<[ZoneState]>,
    /// Further files that were read, such as files of nets and databases, to watch: absolute paths, sorted.
    pub files: Vec<PathBuf>,
    /// Whether anything differs from what was in force. It may be true without a difference.
    pub is_news: bool,
}

/// What is in force before the files are loaded again.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The zones.
    pub model: Arc<Model>,
    /// The state of each zone.
    pub zones: Arc<[ZoneState]>,
}

/// From where and how to load.
#[derive(Debug, Clone)]
pub struct LoadOptions<'a> {
    /// The settings file. Without one, the settings come from the environment and the flags alone.
    pub settings_file: Option<&'a Path>,
    /// Flags of the command line.
    pub flags: &'a Flags,
    /// Now, Unix seconds.
    pub now: f64,
    /// Whether zones and names that disappeared from the files are removed at once.
    pub confirm_removal: bool,
    /// What the sources of `[discover.NAME]` state at present. [`start`] takes it from the state directory.
    pub discovered: Arc<DiscoveredSets>,
}

/// Loads at the start. `recall` returns the versions of the zones in the state directory of the settings, and what the
/// sources stated last.
pub fn start(
    options: LoadOptions<'_>,
    recall: impl FnOnce(&Settings) -> (Vec<ZoneState>, DiscoveredSets),
) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let Some(settings) = valid_settings(&options, &mut problems) else { return Err(problems.into_sorted()) };
    let (zones, discovered) = recall(&settings);
    let before = ZoneHistory::new(zones.into(), options.now, options.confirm_removal).with(discovered.into());
    finish(settings, None, &before, problems)
}

/// The settings with the files that they name, if they have no errors outside these.
fn valid_settings(options: &LoadOptions<'_>, problems: &mut Problems) -> Option<Settings> {
    let settings = settings::read(options.settings_file, settings::environment(), options.flags, problems);
    settings.filter(|_| problems.errors_outside_side_files() == 0)
}

/// Loads the files again.
pub fn again(options: LoadOptions<'_>, in_force: &InForce) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let before = ZoneHistory::new(in_force.zones.clone(), options.now, options.confirm_removal);
    let before = before.with(options.discovered.clone()).with_sources(in_force.model.sources.clone());
    let read = settings::read_alone(options.settings_file, settings::environment(), options.flags, &mut problems);
    let valid = read.filter(|_| problems.errors_outside_side_files() == 0);
    // A running server connects to no other fleet, for instance, and exclusive names need the one of its start.
    let usable = valid.and_then(|settings| settings.with_values_of_start(&in_force.settings, &mut problems));
    let Some(settings) = usable else {
        let settings = in_force.settings.with_side_files_again(&mut problems);
        return finish(settings, Some(in_force), &before, problems);
    };
    let (mut of_side_files, mut trial) = (Problems::default(), Problems::default());
    let settings = settings.with_side_files(&mut of_side_files);
    let settings = settings.with_good_side_files_of(&in_force.settings, &of_side_files);
    let loaded = classes::read_and_place(&settings, &before, Some(&in_force.model), &mut trial);
    if loaded.invalid.is_empty() && loaded.is_complete {
        problems.extend(of_side_files);
        problems.extend(trial);
        return complete(settings, loaded, Some(in_force), problems);
    }
    if !loaded.is_complete {
        // Clients can't be placed under the new settings.
        problems.extend(trial);
    }
    let file = options.settings_file.unwrap_or(Path::new("portolan.toml"));
    for apex in &loaded.invalid {
        let message = format!(
            "the last good version of {apex} is not valid under these settings, so the previous settings stay in force"
        );
        let problem = problems.error(&Place::start_of(file), message);
        problem.hint("correct the files of the zone first, or restore what it needs in the settings, such as a region");
    }
    let settings = in_force.settings.with_side_files_again(&mut problems);
    finish(settings, Some(in_force), &before, problems)
}

fn finish(
    settings: Settings,
    in_force: Option<&InForce>,
    before: &ZoneHistory,
    mut problems: Problems,
) -> Result<Loaded, Vec<Problem>> {
    let served = in_force.map(|in_force| &*in_force.model);
    let loaded = classes::read_and_place(&settings, before, served, &mut problems);
    // Without any zone, and with an error in the directory, the settings probably name a wrong directory. A server that
    // has no zone goes on without one, and uses what its other files have.
    let has_none = in_force.is_some_and(|in_force| in_force.zones.is_empty());
    if loaded.zones.is_empty() && !has_none && problems.errors_outside_side_files() > 0 {
        return Err(problems.into_sorted());
    }
    complete(settings, loaded, in_force, problems)
}

/// Collects what was refused.
fn complete(
    settings: Settings,
    loaded: LoadedZones,
    in_force: Option<&InForce>,
    mut problems: Problems,
) -> Result<Loaded, Vec<Problem>> {
    let Some((mut model, zones, files)) = whole_of(&settings, loaded, &mut problems) else {
        return Err(problems.into_sorted());
    };
    model.regional_view = settings.is_in_fleet;
    let bad_files = SideFile::ALL.into_iter().filter(|file| problems.is_bad(*file));
    let effects: Vec<Problem> = bad_files.filter_map(|file| effect_without(file, &settings)).collect();
    let (mut refused, warnings): (Vec<_>, Vec<_>) =
        problems.into_sorted().into_iter().partition(|problem| problem.severity == Severity::Error);
    refused.extend(effects);
    refused.extend(zones.iter().filter_map(|zone| warning_of(zone, &settings)));
    let is_news = refused.is_empty() || in_force.is_none_or(|in_force| differs(&settings, &model, &zones, in_force));
    Ok(Loaded { settings, model, warnings, refused, zones, files, is_news })
}

/// The model, the state of the zones and the files to watch; `None` if clients can't be loaded.
fn whole_of(
    settings: &Settings,
    loaded: LoadedZones,
    problems: &mut Problems,
) -> Option<(Model, Arc<[ZoneState]>, Vec<PathBuf>)> {
    let LoadedZones { model, zones, mut files, invalid: _, is_complete } = loaded;
    settings.operators.warn_of_unknown(&model, problems);
    files.extend(settings.side_files());
    files.sort();
    files.dedup();
    is_complete.then(|| (model, zones.into(), files))
}

/// Whether anything differs from what is in force.
fn differs(settings: &Settings, model: &Model, zones: &[ZoneState], in_force: &InForce) -> bool {
    let old: HashMap<&Name, &ZoneState> = in_force.zones.iter().map(|zone| (&zone.apex, zone)).collect();
    let is_served = |zone: &ZoneState| zone.status != VersionStatus::Unserved;
    let version = |zone: &ZoneState| zone.version.as_ref().map(Arc::as_ptr);
    let is_same = |new: &ZoneState| {
        old.get(&new.apex).is_some_and(|old| version(new) == version(old) && is_served(new) == is_served(old))
    };
    let databases = |model: &Model| {
        let known = clients::databases_of(&model.clients);
        known.iter().map(Arc::as_ptr).collect::<Vec<_>>()
    };
    let stated = |model: &Model| {
        let stated = model.endpoints.iter().filter_map(|endpoint| Some(endpoint.discovered.as_ref()?.endpoint.clone()));
        stated.collect::<Vec<_>>()
    };
    zones.len() != in_force.zones.len()
        || !zones.iter().all(is_same)
        || settings.differs(&in_force.settings)
        || databases(model) != databases(&in_force.model)
        || stated(model) != stated(&in_force.model)
}

/// What does not work because a file that the settings name has errors and has no previous version.
fn effect_without(file: SideFile, settings: &Settings) -> Option<Problem> {
    let (path, is_missing, message) = match file {
        SideFile::Tokens => (
            settings.operators.token_file.clone(),
            settings.operators.tokens.is_none(),
            "without tokens every call that changes something is off",
        ),
        SideFile::CookieSecrets => (
            settings.guard.secret_file.clone(),
            settings.guard.cookies.is_none(),
            "DNS cookies are made with a secret of this process, which other nodes don't know",
        ),
        SideFile::Certificate => (
            settings.tls.as_ref().map(|tls| tls.cert.clone()),
            true,
            "without a certificate no DoT, DoH or DoQ connection is accepted, unless one was loaded before",
        ),
        SideFile::Sinks => (
            settings.sinks.iter().find_map(SinkSettings::secret_file),
            true,
            "a sink whose files have errors sends nothing, unless they were read before: its events wait in the log",
        ),
    };
    is_missing.then(|| Problem::of_file(path.unwrap_or_default(), Severity::Warning, message.to_owned()))
}

/// The warning of a zone that is not served as its files are now.
fn warning_of(zone: &ZoneState, settings: &Settings) -> Option<Problem> {
    let ZoneState { apex, status, version } = zone;
    let since = version.as_ref().map(|version| utc(version.since)).unwrap_or_default();
    let hint = Some("restore it, or confirm the removal with `portolan reload --confirm-removal`".to_owned());
    let (message, hint) = match status {
        VersionStatus::Current => return None,
        VersionStatus::LastGood => (format!("{apex} is served from its last good version, of {since}"), None),
        VersionStatus::Unserved => {
            (format!("{apex} is not served: its names get SERVFAIL until its files are correct"), None)
        }
        VersionStatus::Vanished(Disappearance::Zone, until) => {
            (format!("{apex} disappeared from the files; it is served until {}", utc(*until)), hint)
        }
        VersionStatus::Vanished(Disappearance::Names, until) => (
            format!("all steered names of {apex} disappeared from the files; they are served until {}", utc(*until)),
            hint,
        ),
    };
    let file =
        version.as_ref().map_or(settings.zones_shown.clone(), |version| settings.zones_shown.join(&version.main));
    Some(Problem { hint, ..Problem::of_file(file, Severity::Warning, message) })
}

/// A time for messages.
fn utc(unix_seconds: f64) -> String {
    let since = std::time::Duration::try_from_secs_f64(unix_seconds).unwrap_or_default();
    let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string();
    time.replace('T', " ").replace('Z', " UTC")
}

/// Loads settings and zones, all of which must be valid. With an error anywhere nothing is loaded, and all problems of
/// all files are returned, warnings too, sorted by file and line. Without a settings file, the settings come from the
/// environment and the flags alone.
pub fn load(settings_file: Option<&Path>, flags: &Flags) -> Result<Loaded, Vec<Problem>> {
    load_after(None, settings_file, flags)
}

/// Like [`load`], but databases and nets of `before` that have not changed are not decoded and compiled again:
/// databases are large.
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

/// The settings alone, without zones, and their warnings. An error in a file that they name is a warning here: a
/// vantage needs neither tokens nor certificates.
pub fn settings_alone(settings_file: Option<&Path>, flags: &Flags) -> Result<(Settings, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    let now = crate::clock::unix_seconds();
    let options = LoadOptions { settings_file, flags, now, confirm_removal: false, discovered: Arc::default() };
    match valid_settings(&options, &mut problems) {
        Some(settings) => Ok((settings, problems.into_sorted())),
        None => Err(problems.into_sorted()),
    }
}

/// The format of the log that the settings choose. Other errors in the settings don't matter: they are logged in this
/// format.
pub fn log_format(settings_file: Option<&Path>, flags: &Flags) -> Option<LogFormat> {
    settings::read(settings_file, settings::environment(), flags, &mut Problems::default())?.log
}

/// Reads the zones again under settings that were read before. Returns the new model and its warnings, or all problems.
pub fn reload(settings: &Settings) -> Result<(Model, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    let (model, ..) = whole(settings, None, &mut problems);
    match problems.errors() {
        0 => Ok((model, problems.into_sorted())),
        _ => Err(problems.into_sorted()),
    }
}

/// The zones under these settings with their clients loaded, and the files to watch. The caller looks at `problems`.
pub(super) fn whole(
    settings: &Settings,
    before: Option<&Model>,
    problems: &mut Problems,
) -> (Model, Arc<[ZoneState]>, Vec<PathBuf>) {
    let now = crate::clock::unix_seconds();
    let loaded = classes::read_and_place(settings, &ZoneHistory::new(Arc::default(), now, false), before, problems);
    whole_of(settings, loaded, problems).unwrap_or_default()
}
