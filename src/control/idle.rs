//! Overrides that count for no endpoint: others are more specific or newer, or their target matches no endpoint now.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::overrides::{Book, OverrideReport, is_inside};
use crate::control::target::endpoints_of;
use crate::model::{Model, Override, WorldView};
use crate::wire::Name;

/// Most of them in a report. Judgment: each may cost a look at all endpoints; `/v1/overrides` has all overrides.
pub const MOST_IDLE: usize = 100;

/// An override that counts for no endpoint now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IdleOverride {
    /// The override.
    #[serde(flatten)]
    pub entry: OverrideReport,
    /// The targets of the overrides that count in its place, sorted; empty if its target matches no endpoint now.
    #[serde(default)]
    pub overridden_by: Vec<String>,
}

/// The overrides of the book that count for no endpoint of the view, in the order of their targets; at most
/// [`MOST_IDLE`].
pub(super) fn idle(book: &Book, model: &Model, view: &WorldView) -> Vec<IdleOverride> {
    let winners: HashSet<(&str, Option<&[Name]>)> = view.overrides.values().map(|entry| key(entry)).collect();
    let all = book.all();
    let losers = all.iter().filter(|entry| !winners.contains(&key(entry)));
    let report = |entry: &Arc<Override>| {
        let found = endpoints_of(&entry.target, model);
        let own = found.into_iter().filter(|id| is_inside(entry, *id, model));
        let by: BTreeSet<&str> = own.filter_map(|id| Some(view.override_of(id)?.target.as_str())).collect();
        let overridden_by = by.into_iter().map(str::to_owned).collect();
        IdleOverride { entry: OverrideReport::from(&**entry), overridden_by }
    };
    losers.take(MOST_IDLE).map(report).collect()
}

/// What is unique in a book.
fn key(entry: &Override) -> (&str, Option<&[Name]>) {
    (&entry.target, entry.zones.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world::{model, view};
    use crate::model::OverrideState;

    fn entry(target: &str) -> Override {
        Override {
            target: target.to_owned(),
            state: OverrideState::Drain,
            why: "rack move".to_owned(),
            who: "alice".to_owned(),
            until: None,
            zones: None,
        }
    }

    #[test]
    fn overrides_that_do_not_count_have_those_that_count_in_their_place() {
        let model = model();
        let names: Vec<String> = model.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
        let mut all: Vec<Override> = names.iter().map(|name| entry(name)).collect();
        all.extend([entry("*"), entry("gone-*")]);
        let book = Book::of(all).unwrap();
        let mut view = view();
        view.overrides = Arc::new(book.resolve(&model));
        let found = idle(&book, &model, &view);
        let by: Vec<(&str, usize)> =
            found.iter().map(|idle| (idle.entry.target.as_str(), idle.overridden_by.len())).collect();
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(by, [("*", distinct.len()), ("gone-*", 0)]);
        let json = serde_json::to_value(&found[1]).unwrap();
        assert_eq!((&json["target"], &json["overridden_by"]), (&"gone-*".into(), &serde_json::json!([])));
        // An override that counts for one endpoint only is not idle.
        let book = Book::of(vec![entry("*"), entry(&names[0])]).unwrap();
        view.overrides = Arc::new(book.resolve(&model));
        assert_eq!(idle(&book, &model, &view), []);
        assert_eq!(idle(&Book::default(), &model, &view), []);
    }
}
