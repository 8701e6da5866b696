//! The `when` of a geo member as text.

use crate::model::{Model, RegionId, SelectorId};

/// Most entries of a list in the text (judgment: a file of nets has thousands).
const MOST_NAMED: usize = 6;

/// `group offices; countries NO, SE; continents EU`.
pub(super) fn selector_text(model: &Model, id: SelectorId) -> String {
    let Some(selector) = model.clients.selectors.get(usize::from(id.0)) else { return String::new() };
    let group = if selector.groups.len() == 1 { "group" } else { "groups" };
    let region = |id: &RegionId| model.region(*id).name.clone();
    let lists = [
        list(group, &selector.groups, ToString::to_string),
        list("regions", &selector.regions, region),
        list("nets", &selector.nets, ToString::to_string),
        list("asns", &selector.asns, ToString::to_string),
        list("countries", &selector.countries, ToString::to_string),
        list("continents", &selector.continents, ToString::to_string),
        selector.unknown.then(|| "clients of unknown location".to_owned()),
    ];
    lists.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn list<T>(name: &str, entries: &[T], text: impl Fn(&T) -> String) -> Option<String> {
    let named = entries.iter().take(MOST_NAMED).map(text).collect::<Vec<_>>().join(", ");
    match entries.len() {
        0 => None,
        n if n > MOST_NAMED => Some(format!("{name} {named} and {} more", n - MOST_NAMED)),
        _ => Some(format!("{name} {named}")),
    }
}
