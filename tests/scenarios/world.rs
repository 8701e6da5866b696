//! The world of a case: files loaded as `serve` loads them, and the health of the endpoints, in simulated time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portolan::config::{self, Flags};
use portolan::model::{
    CheckId, CheckView, Doubt, Endpoint, EndpointId, Evidence, EvidenceBook, Facet, Health, Model, Moment, Override,
    OverrideState, RegionId, WorldView,
};
use portolan::snapshot::{Identity, Publisher, Snapshot, SteeringState, compile::compile};
use portolan::source;

use crate::script::Script;

/// The first lines of every master file.
const ZONE_HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n";

/// When a case begins: long after the start of the process, so that earlier times exist.
const BEGIN: Duration = Duration::from_secs(1000);

/// A world and its snapshot.
pub(crate) struct World {
    model: Arc<Model>,
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
        let model = Arc::new(Model { regional_view, ..load(script) });
        let up = CheckView { health: Health::Up, tried: true, ..CheckView::default() };
        let at = Moment::from_start(BEGIN);
        let checks = vec![up; model.checks.len()].into();
        let evidence = EvidenceBook::Listed(vec![evidence(&model); model.checks.len()]);
        let view = WorldView { at, checks, evidence, ..WorldView::default() };
        let first = compile(model.clone(), Arc::new(view.clone()), Arc::new(Identity::default()), 1, None);
        World {
            model,
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
            match std::mem::replace(&mut self.is_begun, true) {
                false => self.publisher.begin(self.view.clone(), &SteeringState::default()),
                true => drop(self.publisher.observe(self.view.clone(), 0.0)),
            }
        }
        self.publisher.snapshots().load_full()
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
                // The state up to now is served before the time moves forward.
                self.snapshot();
                self.view.at = self.view.at + duration(rest.first().map_or("", String::as_str))?;
                self.is_changed = true;
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

fn load(script: &Script) -> Model {
    if let Some(settings) = &script.used {
        return loaded(Path::new(settings));
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
    loaded(&settings)
}

fn loaded(settings: &Path) -> Model {
    match config::load(Some(settings), &Flags::default()) {
        Ok(loaded) => loaded.model,
        Err(problems) => panic!("{}", source::to_human(&problems)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|why| format!("\"{text}\": {why}"))
}
