//! What is served although the files or a source no longer have it, and what a confirmed removal has removed.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{Disappearance, VersionStatus, ZoneState};
use crate::control::sources::SourceEntry;
use crate::model::Model;
use crate::wire::Name;

/// Most items of a kind that are named (judgment: a screen of a terminal; the others are counted).
const MOST_NAMED: usize = 20;

/// Zones, names and endpoints that are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovalReport {
    /// Zones, with the final dot.
    pub zones: RemovedItems,
    /// Steered names, with their zones and the final dot.
    pub names: RemovedItems,
    /// Endpoints, as ZONE/NAME.
    pub endpoints: RemovedItems,
}

/// Items of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedItems {
    /// How many there are.
    pub count: usize,
    /// The first of them, at most 20.
    pub first: Vec<String>,
}

/// The same without a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Removals {
    zones: BTreeSet<String>,
    names: BTreeSet<String>,
    endpoints: BTreeSet<String>,
}

impl Removals {
    /// What disappeared from the files and is still served: `confirm_removal` would remove it.
    pub(super) fn vanished(model: &Model, zones: &[ZoneState]) -> Removals {
        let vanished = |what: Disappearance| -> HashSet<&Name> {
            let is_it = |zone: &&ZoneState| matches!(zone.status, VersionStatus::Vanished(of, _) if of == what);
            zones.iter().filter(is_it).map(|zone| &zone.apex).collect()
        };
        let of_names = Removals::of_zones(model, &vanished(Disappearance::Names)).names;
        let mut all = Removals::of_zones(model, &vanished(Disappearance::Zone));
        all.names.extend(of_names);
        all
    }

    /// The endpoints that sources no longer list and that are still served: `confirm_removal` would remove them.
    pub(super) fn withdrawn(sources: &[SourceEntry]) -> Removals {
        let mut all = Removals::default();
        for SourceEntry { report, withdrawn, .. } in sources {
            all.endpoints.extend(withdrawn.iter().map(|name| format!("{}/{name}", report.zone)));
        }
        all
    }

    /// What was served `before` and is not served `after`. Only zones whose version is another one are compared.
    pub(super) fn between(before: (&Model, &[ZoneState]), after: (&Model, &[ZoneState])) -> Removals {
        let version = |zone: &ZoneState| zone.version.as_ref().map(std::sync::Arc::as_ptr);
        let versions: HashMap<&Name, _> = after.1.iter().map(|zone| (&zone.apex, version(zone))).collect();
        let is_changed = |zone: &&ZoneState| versions.get(&zone.apex) != Some(&version(zone));
        let changed: HashSet<&Name> = before.1.iter().filter(is_changed).map(|zone| &zone.apex).collect();
        let (mut all, now) = (Removals::of_zones(before.0, &changed), Removals::of_zones(after.0, &changed));
        all.zones.retain(|zone| !now.zones.contains(zone));
        all.names.retain(|name| !now.names.contains(name));
        all.endpoints.retain(|endpoint| !now.endpoints.contains(endpoint));
        all
    }

    /// All of these zones.
    fn of_zones(model: &Model, apexes: &HashSet<&Name>) -> Removals {
        let mut all = Removals::default();
        if apexes.is_empty() {
            return all;
        }
        for zone in model.zones.iter().filter(|zone| apexes.contains(&zone.apex)) {
            all.zones.insert(zone.apex.to_string());
            all.names.extend(zone.steered.iter().map(|name| name.owner.to_string()));
        }
        for endpoint in &model.endpoints {
            let apex = &model.zone(endpoint.zone).apex;
            if apexes.contains(apex) {
                all.endpoints.insert(format!("{apex}/{}", endpoint.name));
            }
        }
        all
    }

    /// These and others.
    pub(super) fn and(mut self, other: Removals) -> Removals {
        self.zones.extend(other.zones);
        self.names.extend(other.names);
        self.endpoints.extend(other.endpoints);
        self
    }

    /// With the first of each kind; `None`: there is none.
    pub(super) fn report(&self) -> Option<RemovalReport> {
        let items = |all: &BTreeSet<String>| RemovedItems {
            count: all.len(),
            first: all.iter().take(MOST_NAMED).cloned().collect(),
        };
        let Removals { zones, names, endpoints } = self;
        let is_empty = zones.is_empty() && names.is_empty() && endpoints.is_empty();
        (!is_empty).then(|| RemovalReport { zones: items(zones), names: items(names), endpoints: items(endpoints) })
    }
}

impl std::fmt::Display for RemovalReport {
    /// `1 zone (a.), 2 names (b.a., c.a.), 30 endpoints (a./e0, a./e1, ... and 10 more)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [("zone", &self.zones), ("name", &self.names), ("endpoint", &self.endpoints)];
        let kinds = kinds.into_iter().filter(|(_, of)| of.count > 0);
        let shown = kinds.map(|(kind, RemovedItems { count, first })| {
            let plural = if *count == 1 { "" } else { "s" };
            let more = match count.saturating_sub(first.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{count} {kind}{plural} ({}{more})", first.join(", "))
        });
        f.write_str(&shown.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Version;
    use crate::control::test_world;

    fn zone(status: VersionStatus) -> ZoneState {
        let version = Version { apex: apex(), main: String::new(), steered: 1, since: 1.0, texts: Default::default() };
        ZoneState { apex: apex(), status, version: Some(Arc::new(version)) }
    }

    fn apex() -> Name {
        Name::parse("svc.example.").unwrap()
    }

    #[test]
    fn what_vanished_is_pending_and_what_a_zone_lost_is_removed() {
        let model = test_world::model();
        let vanished = |status| Removals::vanished(&model, &[zone(status)]).report();
        assert_eq!(vanished(VersionStatus::Current), None);
        let all = vanished(VersionStatus::Vanished(Disappearance::Zone, 9.0)).unwrap();
        assert_eq!((all.zones.count, all.endpoints.count), (1, model.endpoints.len()));
        assert!(all.to_string().starts_with("1 zone (svc.example.), "), "{all}");
        let names = vanished(VersionStatus::Vanished(Disappearance::Names, 9.0)).unwrap();
        assert_eq!((names.zones.count, names.names, names.endpoints.count), (0, all.names.clone(), 0));
        let (before, mut after) = ([zone(VersionStatus::Current)], test_world::model());
        after.endpoints.pop();
        let [old, new] = [&before[..], &[zone(VersionStatus::Current)][..]];
        assert_eq!(Removals::between((&model, old), (&after, old)).report(), None, "the same version");
        let removed = Removals::between((&model, old), (&after, new)).report().unwrap();
        assert_eq!((removed.zones.count, removed.names.count, removed.endpoints.count), (0, 0, 1), "{removed}");
        let gone = Removals::between((&model, old), (&Model::default(), &[])).report().unwrap();
        assert_eq!(gone, all);
    }

    #[test]
    fn many_are_counted_and_the_first_are_named() {
        let endpoints = (0..30).map(|n| format!("svc.example./e{n:02}")).collect();
        let all = Removals { endpoints, ..Removals::default() }.and(Removals::default()).report().unwrap();
        assert_eq!((all.endpoints.count, all.endpoints.first.len()), (30, 20));
        let shown = all.to_string();
        assert!(shown.starts_with("30 endpoints (svc.example./e00, ") && shown.ends_with(" and 10 more)"), "{shown}");
    }
}
