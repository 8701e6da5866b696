//! Sources of endpoints in a scenario (`[discover.NAME]`): what they list, and what becomes of it. The pure core of the
//! daemon decides that, in simulated time.

use std::collections::BTreeSet;
use std::sync::Arc;

use portolan::discovery::endpoints::InstanceRules;
use portolan::discovery::{
    Instance, InstanceChanges, InstanceList, SourceSet, Stating, TrackedSource, Trouble, Update,
};
use portolan::model::{DiscoveredPool, Model, Moment, WorldView};

use crate::script::Wrong;

/// What an instance may have besides its name and its addresses.
const FIELDS: &str = "port, region, weight, country, capacity, probe, down";

/// The sources of a model.
pub(crate) struct Sources {
    all: Vec<TrackedSource>,
}

impl Sources {
    /// None of them was read yet.
    pub(crate) fn of(model: &Model) -> Sources {
        let regions: Arc<BTreeSet<String>> = Arc::new(model.regions.iter().map(|of| of.name.clone()).collect());
        let tracked = |spec: &Arc<DiscoveredPool>| {
            let names = model.own_names.get(&spec.zone).cloned().unwrap_or_default();
            let rules = InstanceRules { spec: spec.clone(), regions: regions.clone(), names };
            TrackedSource::new(spec.clone(), SourceSet::judged_by(rules), None)
        };
        Sources { all: model.sources.iter().map(tracked).collect() }
    }

    fn find(&mut self, words: &[String]) -> Result<&mut TrackedSource, Wrong> {
        let name = words.get(1).ok_or_else(|| Wrong::at(0, format!("expected {} NAME ...", words[0])))?;
        let known: Vec<String> = self.all.iter().map(|of| of.spec.name.clone()).collect();
        let found = self.all.iter_mut().find(|of| of.spec.name == *name);
        found.ok_or_else(|| match known.is_empty() {
            true => Wrong::at(1, "the policy has no [discover.NAME]".to_owned()),
            false => Wrong::at(1, format!("no source is called {name}; there is {}", known.join(", "))),
        })
    }

    /// `SOURCE NAME lists|adds|removes|wiped|away|bad ...`
    pub(crate) fn send(&mut self, words: &[String], now: Moment) -> Result<(), Wrong> {
        let source = self.find(words)?;
        let what = words.get(2).map_or("", String::as_str);
        let rest = || words.iter().enumerate().skip(3);
        let instances = || rest().map(|(at, word)| instance(word).map_err(|why| Wrong::at(at, why)));
        let why = || match rest().map(|(_, word)| word.as_str()).collect::<Vec<_>>().join(" ") {
            why if why.is_empty() => "connection refused".to_owned(),
            why => why,
        };
        let update = match what {
            "lists" | "wiped" => {
                if let ("wiped", Some((at, _))) = (what, rest().next()) {
                    return Err(Wrong::at(at, "`wiped` lists nothing: leave this out, or write `lists`".to_owned()));
                }
                let mut list = InstanceList::new(source.spec.max);
                instances().try_for_each(|of| of.map(|of| list.push(of)))?;
                Update::Whole(list)
            }
            "adds" => {
                let mut changes = InstanceChanges::default();
                instances().try_for_each(|of| of.map(|of| changes.set(of)))?;
                Update::Changes(changes)
            }
            "removes" => {
                let mut changes = InstanceChanges::default();
                for (at, name) in rest() {
                    if !source.set.instances().any(|of| of.key == *name) {
                        return Err(Wrong::at(at, format!("the source has no instance {name}")));
                    }
                    changes.remove(name);
                }
                Update::Changes(changes)
            }
            "away" => Update::Away(Trouble::away(why())),
            "bad" => Update::Away(Trouble::bad(why())),
            _ => {
                let all = "SOURCE NAME lists, adds, removes, wiped, away or bad";
                return Err(Wrong::at(2.min(words.len() - 1), format!("expected {all}")));
            }
        };
        source.apply(update, now);
        Ok(())
    }

    /// `CONFIRM_REMOVAL`: what disappeared goes.
    pub(crate) fn confirm(&mut self, now: Moment) {
        self.all.iter_mut().for_each(|source| source.confirm(now));
    }

    /// Makes what they state of what they list. Returns whether that is something else.
    pub(crate) fn restate(&mut self, model: &Model, view: &WorldView) -> bool {
        self.all.iter_mut().filter_map(|of| of.restate((model, view), view.at, 0.0)).count() > 0
    }

    /// What they state.
    pub(crate) fn stating(&self) -> Stating {
        let known = self.all.iter().filter(|of| of.set.is_known());
        Stating { by_source: known.map(|of| (of.spec.key(), of.stating.clone())).collect() }
    }

    /// `SOURCE_IS NAME STATE [TEXT]`: the state of a source, and a part of its problem.
    pub(crate) fn expect(&mut self, words: &[String], now: Moment) -> Result<(), Wrong> {
        let source = self.find(words)?;
        let wanted = words.get(2).ok_or_else(|| Wrong::at(0, "expected SOURCE_IS NAME STATE [TEXT]".to_owned()))?;
        let mut problems = source.problems(now);
        problems.extend(source.stating.stated.refused.shown());
        let (found, problem) = (source.state(now).as_str(), problems.join("; "));
        if found != wanted {
            return Err(Wrong::at(2, format!("the source is {found}: {problem}")));
        }
        let text = words[3..].join(" ");
        match problem.contains(&text) {
            true => Ok(()),
            false => Err(Wrong::at(3, format!("its problem is: {problem}"))),
        }
    }
}

/// `a=192.0.2.1,2001:db8::1;port=80;region=eu;down`
fn instance(word: &str) -> Result<Instance, String> {
    let mut parts = word.split(';');
    let (name, addresses) = parts.next().and_then(|first| first.split_once('=')).ok_or_else(|| {
        format!("`{word}` is no instance: write NAME=ADDRESS, such as a=192.0.2.1 or a=192.0.2.1;port=80;region=eu")
    })?;
    let mut of = Instance::new(name, addresses.split(',').map(str::to_owned), None);
    for part in parts {
        let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
        let text = || value.map(str::to_owned).ok_or_else(|| format!("`{key}` has no value: write {key}=VALUE"));
        match key {
            "port" => of.port = Some(text()?.parse().map_err(|_| format!("`{part}`: expected a port, 1 to 65535"))?),
            "region" => of.region = Some(text()?),
            "weight" => of.weight = Some(text()?),
            "country" => of.country = Some(text()?),
            "capacity" => of.capacity = Some(text()?),
            "probe" => of.probe = Some(text()?),
            "down" => of = of.down(value.unwrap_or("critical")),
            _ => return Err(format!("`{key}` is nothing that an instance has: it is one of {FIELDS}")),
        }
    }
    Ok(of)
}
