//! `on_empty` of a name: each entry must exist and be reachable, and `static` needs records in the master file.

use crate::config::spec::NameSpec;
use crate::config::validate::Names;
use crate::config::validate::context::{NameContext, ZoneContext};
use crate::masterfile::{CNAME, type_name};
use crate::model::{ON_EMPTY_WORDS, OnEmpty};
use crate::source::{At, Place, Problem, Problems, listed, similar};

impl ZoneContext<'_> {
    /// `on_empty` of the name, or of `[defaults]`, or the default. `None`: an entry is wrong.
    pub(super) fn on_empty(&self, name: &NameSpec, problems: &mut Problems) -> Option<Vec<OnEmpty>> {
        let Some(written) = self.spec.answering(name, |keys| keys.on_empty.as_ref()) else {
            return Some(vec![OnEmpty::default()]);
        };
        let found: Vec<Option<OnEmpty>> =
            written.value.iter().map(|entry| on_empty(entry, self.names, problems)).collect();
        check_order(&written.value, problems);
        found.into_iter().collect()
    }
}

impl NameContext<'_> {
    /// `on_empty = "static"` needs records of the name in the master file.
    pub(super) fn check_static(&self, problems: &mut Problems) {
        let (name, facets) = (self.name, self.facets);
        let missing: Vec<String> = facets
            .iter()
            .map(|facet| facet.rtype())
            .filter(|t| self.file.rrset(&name.owner, *t).is_none())
            .map(type_name)
            .collect();
        // A CNAME is enough for every type. Where it is not allowed, that is another problem.
        let has_cname = self.file.rrset(&name.owner, CNAME).is_some();
        if missing.is_empty() || (has_cname && facets.iter().any(|facet| !facet.is_service())) {
            return;
        }
        let place = name.own.on_empty.as_ref().map_or(&name.name.place, |at| &at.place);
        let what = missing.join(" or ");
        let message = format!("`{}` has no {what} record in the zone file to fall back on", name.name.value);
        let hint = format!("write `{} IN {} ...` there, or choose another `on_empty`", name.name.value, missing[0]);
        let problem = match missing.len() == facets.len() {
            true => problems.error(place, message),
            false => problems.warning(place, message),
        };
        if place != &name.name.place {
            problem.label(&name.name.place, format!("`{}`", name.name.value));
        }
        problem.hint(hint);
    }
}

fn on_empty(written: &At<String>, names: &Names<'_>, problems: &mut Problems) -> Option<OnEmpty> {
    match written.value.as_str() {
        "last_good" => Some(OnEmpty::LastGood),
        "all" => Some(OnEmpty::All),
        "static" => Some(OnEmpty::Static),
        "nodata" => Some(OnEmpty::Nodata),
        other => {
            let found = names.by_name.get(other).copied();
            if found.is_none() {
                let message = format!("`on_empty`: there is no endpoint or pool `{other}`");
                let hint = format!("there is {}, and the zone's endpoints and pools", listed(&ON_EMPTY_WORDS));
                let near = similar(other, ON_EMPTY_WORDS.into_iter().chain(names.known()));
                problems.error(&written.place, message).hint = near.or(Some(hint));
            }
            found.map(OnEmpty::Other)
        }
    }
}

/// Finds entries that are never used: duplicates, and entries after one that always answers.
fn check_order(entries: &[At<String>], problems: &mut Problems) {
    let mut always: Option<&At<String>> = None;
    let mut seen: Vec<&At<String>> = Vec::new();
    for entry in entries {
        let written = &entry.value;
        if let Some(first) = seen.iter().find(|seen| seen.value == *written) {
            let message = format!("`on_empty` lists `{written}` twice");
            label(problems.error(&entry.place, message), &first.place, &entry.place, "listed here too");
            continue;
        }
        if let Some(before) = always {
            let message = format!("`on_empty` never gets to `{written}`: `{}` before it always answers", before.value);
            let problem = problems.warning(&entry.place, message);
            label(problem, &before.place, &entry.place, "this one");
            problem.hint(format!("list `{}` last", before.value));
        }
        always = always.or(Some(entry).filter(|entry| matches!(entry.value.as_str(), "nodata" | "static")));
        seen.push(entry);
    }
}

/// Labels another place than the problem's own.
fn label(problem: &mut Problem, at: &Place, own: &Place, text: &str) {
    if at != own {
        problem.label(at, text);
    }
}
