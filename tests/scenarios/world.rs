//! The world of a case: files loaded as `serve` loads them, and what is believed of the endpoints, in simulated time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portolan::config::{self, Flags};
use portolan::model::{
    CheckView, Doubt, Endpoint, EndpointId, Evidence, Facet, Health, Model, Moment, Override, OverrideState, WorldView,
};
use portolan::snapshot::{Identity, Publisher, Snapshot, SteeringState, compile::compile};

use crate::script::Script;

/// What every zone file begins with.
const ZONE_HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n";

/// When a case begins: long after the process, so that there is a time before.
const BEGIN: Duration = Duration::from_secs(1000);

/// A world and what is served in it.
pub(crate) struct World {
    model: Arc<Model>,
    view: WorldView,
    zone: String,
    publisher: Publisher,
    said: Vec<(String, Override)>,
    is_begun: bool,
    is_changed: bool,
}

impl World {
    /// Everything is up, and nothing was ever served. The files of the script must be without an error.
    pub(crate) fn new(script: &Script) -> World {
        let model = Arc::new(load(script));
        let health =
            |region| CheckView { health: Health::Up, tried: true, evidence: evidence(region), ..CheckView::default() };
        let at = Moment::from_start(BEGIN);
        let checks = model.checks.iter().map(|_| health(&model)).collect();
        let view = WorldView { at, checks, ..WorldView::default() };
        let first = compile(model.clone(), Arc::new(view.clone()), Arc::new(Identity::default()), 1, None);
        World {
            model,
            view,
            zone: script.zone.clone(),
            publisher: Publisher::new(first),
            said: Vec::new(),
            is_begun: false,
            is_changed: true,
        }
    }

    /// What is served now.
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        if std::mem::take(&mut self.is_changed) {
            self.view.overrides = Arc::new(self.overrides());
            match std::mem::replace(&mut self.is_begun, true) {
                false => self.publisher.begin(self.view.clone(), &SteeringState::default()),
                true => drop(self.publisher.observe(self.view.clone(), 0.0)),
            }
        }
        self.publisher.snapshots().load_full()
    }

    /// The zone that is asked.
    pub(crate) fn zone(&self) -> &str {
        &self.zone
    }

    /// Now.
    pub(crate) fn now(&self) -> Moment {
        self.view.at
    }

    /// Changes the world as a line says.
    pub(crate) fn change(&mut self, words: &[String]) -> Result<(), String> {
        let rest = &words[1..];
        match words[0].as_str() {
            "UP" => self.judge(rest, Health::Up),
            "DOWN" => self.judge(rest, Health::Down),
            "UNKNOWN" => self.judge(rest, Health::Unknown),
            "RTT" => self.measure(rest),
            "MAY_CHANGE" => {
                let [target, time] = rest else { return Err("expected MAY_CHANGE ENDPOINT TIME".to_owned()) };
                let time = duration(time)?;
                self.each_check(target, |check| check.may_change_in = Some(time))
            }
            "OVERRIDE" => {
                let [target, state, why] = rest else { return Err("expected OVERRIDE TARGET STATE WHY".to_owned()) };
                self.say(target, state, why)
            }
            "CLEAR" => {
                self.said.retain(|(target, _)| !rest.contains(target));
                self.is_changed = true;
                Ok(())
            }
            "TIME_PASSES" => {
                // What was true until now was served; then the time is another.
                self.snapshot();
                self.view.at = self.view.at + duration(rest.first().map_or("", String::as_str))?;
                self.is_changed = true;
                Ok(())
            }
            other => Err(format!("`{other}` is no word of a scenario")),
        }
    }

    fn judge(&mut self, targets: &[String], health: Health) -> Result<(), String> {
        for target in targets {
            self.each_check(target, |check| {
                check.health = health;
                check.evidence.iter_mut().for_each(|said| {
                    said.health = health;
                    said.why = (health == Health::Down).then(|| "connection refused".into());
                });
            })?;
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

    fn say(&mut self, target: &str, state: &str, why: &str) -> Result<(), String> {
        let state = match state {
            "drain" => OverrideState::Drain,
            "up" => OverrideState::Up,
            "down" => OverrideState::Down,
            other => return Err(format!("{other} is no state of an override")),
        };
        let (target, why, who) = (target.to_owned(), why.to_owned(), "alice".to_owned());
        self.said.retain(|(other, _)| *other != target);
        self.said.push((target.clone(), Override { target, state, why, who, until: None }));
        self.is_changed = true;
        Ok(())
    }

    /// The word on each endpoint: its own goes before its region's.
    fn overrides(&self) -> HashMap<EndpointId, Arc<Override>> {
        let of = |endpoint: &Endpoint| {
            let region = endpoint.region.map(|id| format!("region:{}", self.model.region(id).name));
            let find = |name: &str| self.said.iter().find(|(target, _)| target == name).map(|(_, said)| said.clone());
            find(&endpoint.name).or_else(|| find(&region?))
        };
        let said = self.model.endpoints.iter().enumerate();
        said.filter_map(|(at, endpoint)| Some((EndpointId(at as u32), Arc::new(of(endpoint)?)))).collect()
    }

    /// Changes every check of an endpoint, with `/v4` and `/v6` of one of its addresses, with `@MONITOR` that of a monitor of
    /// names, and with `@` alone its own.
    fn each_check(&mut self, target: &str, change: impl Fn(&mut CheckView)) -> Result<(), String> {
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
        checks.into_iter().for_each(|id| change(&mut self.view.checks[id.0 as usize]));
        self.is_changed = true;
        Ok(())
    }
}

/// What a vantage of the first region says of everything.
fn evidence(model: &Model) -> Vec<Evidence> {
    let region = model.region_named(&model.regions[0].name);
    let said = region.map(|region| Evidence {
        vantage: "ns1".into(),
        region,
        health: Health::Up,
        rtt: None,
        probed_at: Some(Moment::from_start(BEGIN)),
        why: None,
        hold: None,
        doubt: Doubt::None,
    });
    said.into_iter().collect()
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
        Err(problems) => panic!("{}", config::to_human(&problems)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|why| format!("\"{text}\": {why}"))
}
