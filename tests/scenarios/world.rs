//! The world of a case: files loaded as `serve` loads them, and the health of the endpoints, in simulated time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portolan::config::{self, Flags, InForce, LoadOptions, Loaded};
use portolan::model::{
    CheckId, CheckKey, CheckView, Doubt, Endpoint, EndpointId, Evidence, EvidenceBook, Facet, Health, Model, Moment,
    Override, OverrideState, RegionId, WorldView,
};
use portolan::snapshot::{Identity, Publisher, Snapshot, SteeringState, compile::compile};
use portolan::source;

use crate::script::{Script, Wrong};
use crate::sources::Sources;

/// The first lines of every master file.
const ZONE_HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n";

/// When a case begins: long after the start of the process, so that earlier times exist.
const BEGIN: Duration = Duration::from_secs(1000);

/// A world and its snapshot.
pub(crate) struct World {
    model: Arc<Model>,
    /// As in a fleet: scopes distinguish regions.
    regional_view: bool,
    files: Files,
    in_force: InForce,
    sources: Sources,
    view: WorldView,
    zone: String,
    publisher: Publisher,
    overrides: Vec<(String, Override)>,
    is_begun: bool,
    is_changed: bool,
}

impl World {
    /// Everything is up, and nothing was served before. The files of the script must be without an error.
    pub(crate) fn new(script: &Script) -> World {
        // As in a fleet, where the script needs it: then scopes distinguish regions.
        let mut lines = script.cases.iter().flat_map(|case| &case.lines);
        let regional_view = lines.any(|line| line.words.first().is_some_and(|word| word == "OUT_OF_REACH"));
        let files = Files::of(script);
        let Loaded { settings, model, zones, .. } = files.load();
        let model = Arc::new(Model { regional_view, ..model });
        let in_force = InForce { settings: Arc::new(settings), model: model.clone(), zones };
        let sources = Sources::of(&model);
        let up = CheckView { health: Health::Up, tried: true, ..CheckView::default() };
        let at = Moment::from_start(BEGIN);
        let checks = vec![up; model.checks.len()].into();
        let evidence = EvidenceBook::Listed(vec![evidence(&model); model.checks.len()]);
        let view = WorldView { at, checks, evidence, ..WorldView::default() };
        let first = compile(model.clone(), Arc::new(view.clone()), Arc::new(Identity::default()), 1, None);
        World {
            model,
            regional_view,
            files,
            in_force,
            sources,
            view,
            zone: script.zone.clone(),
            publisher: Publisher::new(first),
            overrides: Vec::new(),
            is_begun: false,
            is_changed: true,
        }
    }

    /// The snapshot of this moment.
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        if std::mem::take(&mut self.is_changed) {
            self.view.overrides = Arc::new(self.by_endpoint());
            self.take_sources();
            match std::mem::replace(&mut self.is_begun, true) {
                false => self.publisher.begin(self.view.clone(), &SteeringState::default()),
                true => drop(self.publisher.observe(self.view.clone(), 0.0)),
            }
        }
        self.publisher.snapshots().load_full()
    }

    /// Loads the files again while sources state something else: as the daemon does, but without a pause.
    fn take_sources(&mut self) {
        self.view.stated = Arc::new(self.sources.stating().over(&self.model, &self.view.checks));
        while self.sources.restate(&self.model, &self.view) {
            let model = self.files.load_with(&self.sources, &self.in_force, self.view.at);
            let model = Arc::new(Model { regional_view: self.regional_view, ..model });
            self.view = WorldView { overrides: Arc::default(), ..moved(&self.view, &self.model, &model) };
            self.model = model.clone();
            self.view.overrides = Arc::new(self.by_endpoint());
            self.view.stated = Arc::new(self.sources.stating().over(&model, &self.view.checks));
            self.in_force.model = model.clone();
            match self.is_begun {
                true => drop(self.publisher.adopt(model, self.view.clone(), Arc::default(), 0.0)),
                false => {
                    let view = Arc::new(self.view.clone());
                    self.publisher = Publisher::new(compile(model, view, Arc::default(), 1, None));
                }
            }
        }
    }

    /// `SOURCE`, `SOURCE_IS` and `CONFIRM_REMOVAL`.
    pub(crate) fn change_sources(&mut self, words: &[String]) -> Result<(), Wrong> {
        match words[0].as_str() {
            "SOURCE" => self.sources.send(words, self.view.at)?,
            "CONFIRM_REMOVAL" => self.sources.confirm(self.view.at),
            _ => {
                self.snapshot();
                return self.sources.expect(words, self.view.at);
            }
        }
        self.is_changed = true;
        // Probes and overrides are of endpoints that are served.
        self.snapshot();
        Ok(())
    }

    /// Moves the time to so long after the beginning of the case.
    pub(crate) fn wait_until(&mut self, time: &str) -> Result<(), String> {
        let at = Moment::from_start(BEGIN) + duration(time)?;
        if at < self.view.at {
            let now = self.view.at.since(Moment::from_start(BEGIN));
            return Err(format!("this is {} after the beginning already", humantime::format_duration(now)));
        }
        self.pass(at.since(self.view.at));
        Ok(())
    }

    /// The state up to now is served before the time moves forward.
    fn pass(&mut self, time: Duration) {
        self.snapshot();
        self.view.at = self.view.at + time;
        self.is_changed = true;
    }

    /// The zone of the queries.
    pub(crate) fn zone(&self) -> &str {
        &self.zone
    }

    /// The simulated time.
    pub(crate) fn now(&self) -> Moment {
        self.view.at
    }

    /// Changes the world by a line of a scenario.
    pub(crate) fn change(&mut self, words: &[String]) -> Result<(), String> {
        let rest = &words[1..];
        match words[0].as_str() {
            "UP" => self.set_health(rest, Health::Up),
            "DOWN" => self.set_health(rest, Health::Down),
            "UNKNOWN" => self.set_health(rest, Health::Unknown),
            "RTT" => self.measure(rest),
            "MAY_CHANGE" => {
                let [target, time] = rest else { return Err("expected MAY_CHANGE ENDPOINT TIME".to_owned()) };
                let time = duration(time)?;
                self.each_check(target, |check| check.may_change_in = Some(time))
            }
            "OUT_OF_REACH" => {
                let [target, regions @ ..] = rest else {
                    return Err("expected OUT_OF_REACH ENDPOINT REGION ...".to_owned());
                };
                let id =
                    |name: &String| self.model.region_named(name).ok_or_else(|| format!("no region is called {name}"));
                let regions = regions.iter().map(id).collect::<Result<Vec<RegionId>, String>>()?;
                self.each_check(target, |check| check.unreachable_from = regions.clone().into())
            }
            "OVERRIDE" => {
                let [target, state, why] = rest else { return Err("expected OVERRIDE TARGET STATE WHY".to_owned()) };
                self.set_override(target, state, why)
            }
            "CLEAR" => {
                self.overrides.retain(|(target, _)| !rest.contains(target));
                self.is_changed = true;
                Ok(())
            }
            "TIME_PASSES" => {
                self.pass(duration(rest.first().map_or("", String::as_str))?);
                Ok(())
            }
            other => Err(format!("`{other}` is no keyword of a scenario")),
        }
    }

    fn set_health(&mut self, targets: &[String], health: Health) -> Result<(), String> {
        let why: Option<Arc<str>> = (health == Health::Down).then(|| "connection refused".into());
        for target in targets {
            self.each_check(target, |check| {
                check.health = health;
                check.cause = why.clone().map(|why| (why, "ns1".into()));
            })?;
            for id in self.checks_of(target)? {
                self.view.evidence.change(id.0 as usize, |all| {
                    all.iter_mut().for_each(|evidence| (evidence.health, evidence.why) = (health, why.clone()));
                });
            }
        }
        Ok(())
    }

    /// `RTT fra1 eu=12 us=80.5`, in milliseconds.
    fn measure(&mut self, words: &[String]) -> Result<(), String> {
        let (target, pairs) = words.split_first().ok_or("expected RTT ENDPOINT REGION=MS ...")?;
        let mut rtts = Vec::new();
        for pair in pairs {
            let (region, ms) = pair.split_once('=').ok_or("expected REGION=MS")?;
            let region = self.model.region_named(region).ok_or_else(|| format!("no region is called {region}"))?;
            let ms: f64 = ms.parse().map_err(|_| format!("{ms} is no number of milliseconds"))?;
            rtts.push((region, Duration::from_secs_f64(ms / 1e3)));
        }
        self.each_check(target, |check| check.rtts = rtts.clone())
    }

    fn set_override(&mut self, target: &str, state: &str, why: &str) -> Result<(), String> {
        let state = match state {
            "drain" => OverrideState::Drain,
            "up" => OverrideState::Up,
            "down" => OverrideState::Down,
            other => return Err(format!("{other} is no state of an override")),
        };
        let (target, why, who) = (target.to_owned(), why.to_owned(), "alice".to_owned());
        self.overrides.retain(|(other, _)| *other != target);
        self.overrides.push((target.clone(), Override { target, state, why, who, until: None, zones: None }));
        self.is_changed = true;
        Ok(())
    }

    /// The override of each endpoint: its own goes before that of its region.
    fn by_endpoint(&self) -> HashMap<EndpointId, Arc<Override>> {
        let of = |endpoint: &Endpoint| {
            let region = endpoint.region.map(|id| format!("region:{}", self.model.region(id).name));
            let find =
                |name: &str| self.overrides.iter().find(|(target, _)| target == name).map(|(_, found)| found.clone());
            find(&endpoint.name).or_else(|| find(&region?))
        };
        let endpoints = self.model.endpoints.iter().enumerate();
        endpoints.filter_map(|(at, endpoint)| Some((EndpointId(at as u32), Arc::new(of(endpoint)?)))).collect()
    }

    /// Changes every check of an endpoint. `/v4` and `/v6` select one of its addresses, `@MONITOR` the check by a
    /// monitor of names, and `@` alone the check by its own monitor.
    fn each_check(&mut self, target: &str, change: impl Fn(&mut CheckView)) -> Result<(), String> {
        self.checks_of(target)?.into_iter().for_each(|id| change(&mut self.view.checks[id.0 as usize]));
        self.is_changed = true;
        Ok(())
    }

    fn checks_of(&self, target: &str) -> Result<Vec<CheckId>, String> {
        let (name, family) = target.split_once('/').map_or((target, None), |(name, family)| (name, Some(family)));
        let (name, monitor) = name.split_once('@').map_or((name, None), |(name, monitor)| (name, Some(monitor)));
        let facet = match family {
            None => None,
            Some("v4") => Some(Facet::V4),
            Some("v6") => Some(Facet::V6),
            Some(other) => return Err(format!("{other} is no family")),
        };
        let endpoint = self
            .model
            .endpoints
            .iter()
            .find(|endpoint| endpoint.name == name && self.model.zone(endpoint.zone).apex.to_string() == self.zone);
        let endpoint = endpoint.ok_or_else(|| format!("no endpoint is called {name}"))?;
        let wanted = endpoint.answerables.iter().filter(|a| facet.is_none_or(|facet| a.facet == facet));
        let checks = wanted.flat_map(|side| side.named_checks());
        let is_meant = |by: Option<&str>| monitor.is_none_or(|monitor| by.unwrap_or_default() == monitor);
        let checks: Vec<_> = checks.filter(|(by, _)| is_meant(*by)).map(|(_, check)| check).collect();
        if checks.is_empty() {
            return Err(format!("{target} has no monitor"));
        }
        Ok(checks)
    }
}

/// The evidence of a vantage in the first region: up.
fn evidence(model: &Model) -> Vec<Evidence> {
    let region = model.region_named(&model.regions[0].name);
    let evidence = region.map(|region| Evidence {
        vantage: "ns1".into(),
        region,
        health: Health::Up,
        rtt: None,
        probed_at: Some(Moment::from_start(BEGIN)),
        why: None,
        hold: None,
        doubt: Doubt::None,
        is_counted: true,
    });
    evidence.into_iter().collect()
}

/// The files of a script.
struct Files {
    settings: PathBuf,
    /// Where they are; `None`: they are those of the project.
    _dir: Option<tempfile::TempDir>,
}

impl Files {
    fn of(script: &Script) -> Files {
        if let Some(settings) = &script.used {
            return Files { settings: settings.into(), _dir: None };
        }
        let dir = tempfile::tempdir().expect("a directory");
        let zones = dir.path().join("zones");
        std::fs::create_dir(&zones).expect("a directory for zones");
        let write = |name: &str, text: &str| std::fs::write(zones.join(name), text).expect("a file");
        write("svc.example.policy.toml", &script.policy);
        write("svc.example.zone", &format!("{ZONE_HEAD}{}", script.records));
        script.files.iter().for_each(|(name, text)| write(name, text));
        let settings = dir.path().join("portolan.toml");
        std::fs::write(&settings, &script.settings).expect("the settings");
        Files { settings, _dir: Some(dir) }
    }

    fn load(&self) -> Loaded {
        match config::load(Some(&self.settings), &Flags::default()) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{}", source::to_human(&problems)),
        }
    }

    /// The model with what sources list.
    fn load_with(&self, sources: &Sources, in_force: &InForce, now: Moment) -> Model {
        let options = LoadOptions {
            settings_file: Some(&self.settings),
            flags: &Flags::default(),
            now: now.since(Moment::START).as_secs_f64(),
            confirm_removal: false,
            discovered: Arc::new(sources.stating().sets()),
        };
        match config::again(options, in_force) {
            Ok(loaded) if loaded.refused.is_empty() => loaded.model,
            Ok(loaded) => panic!("{}", source::to_human(&loaded.refused)),
            Err(problems) => panic!("{}", source::to_human(&problems)),
        }
    }
}

/// The view in the ids of another model. A check that is new was probed once, without a verdict: a script says how it
/// is.
fn moved(view: &WorldView, before: &Model, model: &Model) -> WorldView {
    let known: HashMap<&CheckKey, usize> = before.checks.iter().zip(0..).map(|(check, at)| (&*check.key, at)).collect();
    let (mut checks, mut seen) = (Vec::new(), Vec::new());
    for check in &model.checks {
        let at = known.get(&*check.key).copied();
        let new = || CheckView { tried: true, ..CheckView::default() };
        checks.push(at.and_then(|at| view.checks.get(at)).cloned().unwrap_or_else(new));
        let of_new = || evidence(model).into_iter().map(|of| Evidence { health: Health::Unknown, ..of }).collect();
        seen.push(at.map_or_else(of_new, |at| view.evidence.of(before, CheckId(at as u32), view.at)));
    }
    WorldView { checks: checks.into(), evidence: EvidenceBook::Listed(seen), ..view.clone() }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|why| format!("\"{text}\": {why}"))
}
