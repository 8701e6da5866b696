//! What a new generation changes, for one line of the log: the zones, and for a zone that changed the tables of its
//! policy file (names, endpoints, ...) and the records of its master file. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use crate::config::{Version, VersionStatus, ZoneState};
use crate::model::{Model, Rrset};
use crate::wire::Name;

/// How many things of a kind are named (judgment: a line that a person reads).
const NAMED: usize = 5;
/// Tables of a policy file, and what one of each is called.
const KINDS: [(&str, &str); 5] =
    [("name", "names"), ("endpoint", "endpoints"), ("pool", "pools"), ("monitor", "monitors"), ("fence", "fences")];

/// What zones are called that never had a good version, and their place in the line.
const NOT_SERVED: &str = "zones that are not served";
const UNSERVED: usize = KINDS.len() + 2;

/// What was added, removed and changed, by kind.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    kinds: BTreeMap<usize, (&'static str, Changed)>,
}

/// Things of one kind.
#[derive(Debug, Default)]
struct Changed {
    added: BTreeSet<String>,
    removed: BTreeSet<String>,
    changed: BTreeSet<String>,
}

impl Difference {
    /// What differs between two generations.
    pub(crate) fn between(before: (&Model, &[ZoneState]), after: (&Model, &[ZoneState])) -> Difference {
        let mut difference = Difference::default();
        let (old, new) = (by_apex(before.1), by_apex(after.1));
        for (apex, version) in &new {
            match (old.get(apex).copied().flatten(), version) {
                (Some(old), Some(new)) if std::ptr::eq(old, *new) => {}
                (None, None) if old.contains_key(apex) => {}
                (None, None) => difference.note(UNSERVED, NOT_SERVED, apex.to_string(), [false, true]),
                (Some(old), Some(new)) => difference.zone(apex, Some(old), Some(new), (before.0, after.0)),
                (None, Some(new)) => difference.zone(apex, None, Some(new), (before.0, after.0)),
                (Some(_), None) => difference.note(0, "zones", apex.to_string(), [true, false]),
            }
        }
        for (apex, version) in old.iter().filter(|(apex, _)| !new.contains_key(*apex)) {
            match version {
                Some(_) => difference.zone(apex, *version, None, (before.0, after.0)),
                None => difference.note(UNSERVED, NOT_SERVED, apex.to_string(), [true, false]),
            }
        }
        difference
    }

    fn zone(&mut self, apex: &Name, old: Option<&Version>, new: Option<&Version>, models: (&Model, &Model)) {
        self.note(0, "zones", apex.to_string(), [old.is_some(), new.is_some()]);
        let tables = |version: Option<&Version>| version.map(tables).unwrap_or_default();
        let (before, after) = (tables(old), tables(new));
        for (at, (table, kind)) in KINDS.into_iter().enumerate() {
            let of =
                |tables: &toml::Table| tables.get(table).and_then(toml::Value::as_table).cloned().unwrap_or_default();
            self.compare(at + 1, kind, &of(&before), &of(&after));
        }
        if old.map(parts).eq(&new.map(parts)) {
            return;
        }
        self.compare(KINDS.len() + 1, "record sets", &records(models.0, apex), &records(models.1, apex));
    }

    fn compare<V: PartialEq, M>(&mut self, order: usize, kind: &'static str, before: &M, after: &M)
    where
        for<'m> &'m M: IntoIterator<Item = (&'m String, &'m V)>,
    {
        let old: BTreeMap<&String, &V> = before.into_iter().collect();
        let new: BTreeMap<&String, &V> = after.into_iter().collect();
        for (name, value) in &new {
            match old.get(name) {
                Some(old) if old == value => {}
                was => self.note(order, kind, (*name).clone(), [was.is_some(), true]),
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.note(order, kind, (*name).clone(), [true, false]);
        }
    }

    fn note(&mut self, order: usize, kind: &'static str, name: String, [was, is]: [bool; 2]) {
        let (_, changed) = self.kinds.entry(order).or_insert_with(|| (kind, Changed::default()));
        let names = match (was, is) {
            (false, _) => &mut changed.added,
            (true, false) => &mut changed.removed,
            (true, true) => &mut changed.changed,
        };
        names.insert(name);
    }
}

impl fmt::Display for Difference {
    /// `zones: 1 changed (svc.example.); names: 2 added (api, www), 1 removed (old)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds.is_empty() {
            return f.write_str("no zone");
        }
        for (at, (kind, changed)) in self.kinds.values().enumerate() {
            write!(f, "{}{kind}: ", if at == 0 { "" } else { "; " })?;
            let Changed { added, removed, changed } = changed;
            let each = [("added", added), ("removed", removed), ("changed", changed)];
            let each = each.into_iter().filter(|(_, names)| !names.is_empty());
            let each = each.map(|(what, names)| {
                let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
                let more = if names.len() > NAMED { ", ..." } else { "" };
                format!("{} {what} ({}{more})", names.len(), first.join(", "))
            });
            f.write_str(&each.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// The version of each zone that is served.
fn by_apex(zones: &[ZoneState]) -> HashMap<&Name, Option<&Version>> {
    let served = |zone: &ZoneState| zone.status != VersionStatus::Unserved;
    zones.iter().map(|zone| (&zone.apex, zone.version.as_deref().filter(|_| served(zone)))).collect()
}

/// All files of a version but its policy.
fn parts(version: &Version) -> Vec<(&Path, &[u8])> {
    let all = version.texts.iter().map(|(path, text)| (&**path, &**text));
    all.filter(|(path, _)| !(version.main.ends_with(".toml") && path.as_os_str() == &*version.main)).collect()
}

/// The tables of the policy file of a version.
fn tables(version: &Version) -> toml::Table {
    let text = version.texts.get(Path::new(&version.main)).filter(|_| version.main.ends_with(".toml"));
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The record sets of a zone by owner and type.
fn records<'m>(model: &'m Model, apex: &Name) -> HashMap<String, &'m Rrset> {
    let zone = model.zones.iter().find(|zone| zone.apex == *apex);
    let sets = zone.into_iter().flat_map(|zone| &zone.rrsets);
    sets.map(|set| (format!("{}/{}", set.owner, domain::base::iana::Rtype::from_int(set.rtype)), set)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;

    fn zone(apex: &str, status: VersionStatus, policy: &str, master: &str) -> ZoneState {
        let apex = Name::parse(apex).unwrap();
        let main = format!("{apex}policy.toml");
        let texts = [(main.clone(), policy), (format!("{apex}zone"), master)];
        let texts = texts.map(|(path, text)| (PathBuf::from(path), Arc::from(text.as_bytes()))).into_iter().collect();
        let version = Version { apex: apex.clone(), main, steered: 1, since: 1.0, texts };
        ZoneState { apex, status, version: Some(Arc::new(version)) }
    }

    #[test]
    fn a_line_has_what_was_added_removed_and_changed() {
        let model = Model::default();
        let current = |apex, policy| zone(apex, VersionStatus::Current, policy, "");
        let old = "[name.www]\npool = 'a'\n[name.old]\n[endpoint.one]\nweight = 1";
        let new = "[name.www]\npool = 'b'\n[name.api]\n[name.b]\n[endpoint.one]\nweight = 1\n[pool.b]";
        let same = current("kept.", old);
        let before = [current("svc.", old), current("gone.", ""), same.clone()];
        let after = [same, current("svc.", new), current("new.", "")];
        let line = |a: &[ZoneState], b: &[ZoneState]| Difference::between((&model, a), (&model, b)).to_string();
        assert_eq!(
            line(&before, &after),
            "zones: 1 added (new.), 1 removed (gone.), 1 changed (svc.); \
             names: 2 added (api, b), 1 removed (old), 1 changed (www); pools: 1 added (b)"
        );
        assert_eq!(line(&after, &after), "no zone");
        let many: String = (0..9).map(|n| format!("[name.n{n}]\n")).collect();
        assert_eq!(
            line(&[current("svc.", "")], &[current("svc.", &many)]),
            "zones: 1 changed (svc.); names: 9 added (n0, n1, n2, n3, n4, ...)"
        );
    }

    #[test]
    fn a_zone_that_is_not_served_counts_as_removed() {
        let model = Model::default();
        let before = [zone("svc.", VersionStatus::LastGood, "", "")];
        let after = [zone("svc.", VersionStatus::Unserved, "", "")];
        let line = Difference::between((&model, &before), (&model, &after)).to_string();
        assert_eq!(line, "zones: 1 removed (svc.)");
        let unserved = ZoneState { version: None, ..zone("bad.", VersionStatus::Unserved, "", "") };
        let line = |a: &[ZoneState], b: &[ZoneState]| Difference::between((&model, a), (&model, b)).to_string();
        assert_eq!(line(&[], std::slice::from_ref(&unserved)), "zones that are not served: 1 added (bad.)");
        assert_eq!(line(std::slice::from_ref(&unserved), &[]), "zones that are not served: 1 removed (bad.)");
        assert_eq!(line(std::slice::from_ref(&unserved), std::slice::from_ref(&unserved)), "no zone");
        assert_eq!(line(&[unserved], &[zone("bad.", VersionStatus::Current, "", "")]), "zones: 1 added (bad.)");
    }
}
