//! Pools that steer `geo`: the first member that is up and meant for the client, alone; and selectors in words.

use crate::model::{Member, Pool, PoolId, RegionId, SelectorId, Steering};
use crate::steering::pool::{Chooser, Up, in_order};
use crate::steering::tiers::blend;
use crate::steering::{Reason, Scene, Tier};

impl<'a> Chooser<'a> {
    /// The first member that is up and whose `when` holds. The client is looked at where a member that is up has a
    /// `when` and nobody before it is for all.
    pub(super) fn first_match(&mut self, pool: &'a Pool) -> Option<&'a Member> {
        let mut first = None;
        for member in in_order(pool) {
            if !self.is_up(member.to) {
                continue;
            }
            let Some(when) = member.when else { return first.or(Some(member)) };
            self.looks_at_client = true;
            if first.is_none() && self.scene.class.is_selected(when) {
                first = Some(member);
            }
        }
        first
    }

    pub(super) fn geo(&mut self, id: PoolId, pool: &'a Pool) -> Vec<Tier> {
        debug_assert_eq!(pool.steering, Steering::Geo);
        let scene = self.scene;
        let first = self.first_match(pool);
        let mut behind_all = false;
        for member in in_order(pool) {
            if first.is_some_and(|first| first.to == member.to) {
                // Behind one that is for everyone, nobody's `when` is asked.
                behind_all |= first.is_some_and(|first| first.when.is_none());
                continue;
            }
            let unselected = member.when.filter(|when| !behind_all && !scene.class.is_selected(*when));
            let why = match (unselected, first) {
                (Some(when), _) => format!("not for this client: {}", selector_words(&scene, when)),
                (None, Some(first)) => format!("behind \"{}\", which matches first", scene.name(first.to)),
                (None, None) => String::new(),
            };
            self.stand_by(member.to, &why);
        }
        let Some(first) = first else { return Vec::new() };
        let up = Up { to: first.to, tiers: self.member(first.to), weight: 1.0 };
        let whom = first.when.map_or_else(|| "for everyone".to_owned(), |when| selector_words(&scene, when));
        let why = format!("first match{}: \"{}\", {whom}", self.within(id), scene.name(first.to));
        self.ranks.extend(up.tiers.iter().flat_map(Tier::endpoints).map(|e| Reason::new(e, why.as_str())));
        blend(&scene, pool, [up.parts()], |_, _| 1.0)
    }
}

/// Most entries of a list that are named. Judgment: a file of nets has thousands, a person reads a handful.
const MOST_NAMED: usize = 6;

/// `group offices; countries NO, SE; continents EU`.
pub(super) fn selector_words(scene: &Scene, id: SelectorId) -> String {
    let Some(selector) = scene.model.clients.selectors.get(usize::from(id.0)) else { return String::new() };
    let group = if selector.groups.len() == 1 { "group" } else { "groups" };
    let region = |id: &RegionId| scene.model.region(*id).name.clone();
    let lists = [
        list(group, &selector.groups, ToString::to_string),
        list("regions", &selector.regions, region),
        list("nets", &selector.nets, ToString::to_string),
        list("asns", &selector.asns, ToString::to_string),
        list("countries", &selector.countries, ToString::to_string),
        list("continents", &selector.continents, ToString::to_string),
        selector.unknown.then(|| "clients that nothing places".to_owned()),
    ];
    lists.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn list<T>(name: &str, entries: &[T], told: impl Fn(&T) -> String) -> Option<String> {
    let named = entries.iter().take(MOST_NAMED).map(told).collect::<Vec<_>>().join(", ");
    match entries.len() {
        0 => None,
        n if n > MOST_NAMED => Some(format!("{name} {named} and {} more", n - MOST_NAMED)),
        _ => Some(format!("{name} {named}")),
    }
}
