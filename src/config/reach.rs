//! Finds what no client can have, because neither a database nor a region has it: countries, continents and autonomous
//! systems, and regions at all. A selector with them selects nobody, and a pool that ranks by the client's region does
//! not rank. The usual reason is a missing database.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::sync::Arc;

use crate::config::client_settings::ClientSettings;
use crate::config::spec::{PolicySpec, SelectorSpec};
use crate::model::{Continent, Country, Database, RankedBy, Selector};
use crate::source::{At, ManualSection, Place, Problems};

/// A message has at most so many entries, and the number of the others.
const MOST_NAMED: usize = 4;

/// What a policy needs to know of clients.
#[derive(Debug)]
pub(super) enum Sought {
    /// The entries by which one `when`, fence or group selects clients.
    Entries(SoughtEntries),
    /// The region of each client: the `steer` of this pool, at this place, ranks by it.
    Region { pool: String, ranked_by: At<RankedBy> },
}

/// Countries, continents and autonomous systems.
#[derive(Debug)]
pub(super) struct SoughtEntries {
    key: String,
    countries: Vec<At<Country>>,
    continents: Vec<At<Continent>>,
    asns: Vec<At<u32>>,
}

impl Sought {
    /// Those of every selector of a policy that has such entries, and of every pool that ranks by region.
    pub(super) fn of(spec: &PolicySpec) -> impl Iterator<Item = Sought> {
        let regions = spec.pools.iter().filter_map(|pool| {
            let ranked_by = At { value: pool.steer.ranked_by()?, place: pool.steer.place.clone()? };
            Some(Sought::Region { pool: pool.name.value.clone(), ranked_by })
        });
        let has_any = |selector: &&SelectorSpec| {
            !selector.countries.is_empty() || !selector.continents.is_empty() || !selector.asns.is_empty()
        };
        let entries = spec.selectors().filter(has_any).map(|selector| {
            Sought::Entries(SoughtEntries {
                key: selector.kind().to_owned(),
                countries: selector.countries.value.clone(),
                continents: selector.continents.value.clone(),
                asns: selector.asns.value.clone(),
            })
        });
        entries.chain(regions)
    }
}

/// The entries that clients can have.
#[derive(Default)]
struct Known {
    countries: HashSet<Country>,
    continents: HashSet<Continent>,
    asns: HashSet<u32>,
}

impl Known {
    fn of(settings: &ClientSettings, databases: &[Arc<Database>]) -> Known {
        let mut known = Known::default();
        for facts in databases.iter().flat_map(|database| &database.facts) {
            known.countries.extend(facts.country);
            known.continents.extend(facts.continent);
            known.asns.extend(facts.asn);
        }
        for claim in &settings.claims {
            known.countries.extend(&claim.countries);
            known.continents.extend(&claim.continents);
            known.continents.extend(claim.countries.iter().map(|country| country.continent()));
        }
        known
    }
}

/// Warns of each selector with entries that select nobody, and of each pool that ranks by region where no client has
/// one.
pub(super) fn check(sought: &[Sought], settings: &ClientSettings, databases: &[Arc<Database>], p: &mut Problems) {
    // A database has many facts, and only entries need them.
    let known = LazyCell::new(|| Known::of(settings, databases));
    // Without regions in the settings, as for a policy that is checked alone, nothing is known of them.
    let has_no_region = !settings.claims.is_empty()
        && settings.claims.iter().all(|claim| *claim == Selector::default())
        && settings.default.is_none()
        && databases.is_empty();
    for sought in sought {
        let SoughtEntries { key, countries, continents, asns } = match sought {
            Sought::Entries(entries) => entries,
            Sought::Region { pool, ranked_by } if has_no_region => {
                warn_of_region(pool, ranked_by, p);
                continue;
            }
            Sought::Region { .. } => continue,
        };
        let mut missing: Vec<(&Place, String)> = Vec::new();
        let of_countries = countries.iter().filter(|at| !known.countries.contains(&at.value));
        missing.extend(of_countries.map(|at| (&at.place, at.value.to_string())));
        let of_continents = continents.iter().filter(|at| !known.continents.contains(&at.value));
        missing.extend(of_continents.map(|at| (&at.place, at.value.to_string())));
        let is_by_asn_only = missing.is_empty();
        let of_asns = asns.iter().filter(|at| !known.asns.contains(&at.value));
        missing.extend(of_asns.map(|at| (&at.place, format!("AS{}", at.value))));
        warn(key, &missing, (is_by_asn_only, databases.is_empty()), p);
    }
}

fn warn_of_region(pool: &str, ranked_by: &At<RankedBy>, p: &mut Problems) {
    let how = match ranked_by.value {
        RankedBy::Rtt => "round-trip times from the client's region",
        RankedBy::GreatCircle => "distances from the client's region",
    };
    let message = format!("pool `{pool}` gives its members as listed: it ranks by {how}, and no client has a region");
    p.warning(&ranked_by.place, message).see(ManualSection::Clients).hint(
        "give the regions nets, countries or continents in the settings, name a database, [clients] mmdb = \
         [\"geo.mmdb\"], or a region for all clients, [clients] default_region = \"REGION\"",
    );
}

fn warn(key: &str, missing: &[(&Place, String)], (is_by_asn_only, no_databases): (bool, bool), p: &mut Problems) {
    let Some((place, _)) = missing.first() else { return };
    let mut named: Vec<String> = missing.iter().take(MOST_NAMED).map(|(_, name)| format!("`{name}`")).collect();
    if missing.len() > MOST_NAMED {
        named.push(format!("{} more", missing.len() - MOST_NAMED));
    }
    let last = named.pop().unwrap_or_default();
    let names = if named.is_empty() { last } else { format!("{} and {last}", named.join(", ")) };
    let why = match (no_databases, is_by_asn_only) {
        (true, true) => "there is no database of clients",
        (true, false) => "there is no database of clients, and no region has it",
        (false, true) => "no database of clients has it",
        (false, false) => "neither a database of clients nor a region has it",
    };
    let hint = match (no_databases, is_by_asn_only) {
        (true, true) => "name a database in the settings: [clients] mmdb = [\"asn.mmdb\"]",
        (true, false) => "name a database in the settings, [clients] mmdb = [\"geo.mmdb\"], or give it to a region",
        (false, true) => "add a database that has autonomous systems to [clients] mmdb, or remove it",
        (false, false) => {
            "add a database that has it to [clients] mmdb, give it to a region in the settings, or remove it"
        }
    };
    let message = format!("this `{key}` selects nobody by {names}: {why}");
    p.warning(place, message).see(ManualSection::Clients).hint(hint);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::{Facts, FileStamp, RegionId};
    use crate::placing::DatabaseBuilder;

    fn at<T>(value: T) -> At<T> {
        At { value, place: Place::start_of(Path::new("p")) }
    }

    fn sought(countries: &[&str], continents: &[&str], asns: &[u32]) -> Sought {
        let country = |code: &&str| at(Country::parse(code).unwrap());
        let continent = |code: &&str| at(Continent::parse(code).unwrap());
        Sought::Entries(SoughtEntries {
            key: "when".to_owned(),
            countries: countries.iter().map(country).collect(),
            continents: continents.iter().map(continent).collect(),
            asns: asns.iter().copied().map(at).collect(),
        })
    }

    #[test]
    fn a_pool_that_ranks_by_region_needs_clients_that_have_one() {
        let sought = || [Sought::Region { pool: "near".to_owned(), ranked_by: at(RankedBy::GreatCircle) }];
        let warnings = |settings: &ClientSettings| {
            let mut problems = Problems::default();
            check(&sought(), settings, &[], &mut problems);
            problems.into_sorted().len()
        };
        let of_country = Selector { countries: vec![Country::parse("DE").unwrap()], ..Selector::default() };
        let of = |claims: Vec<Selector>, default| ClientSettings { claims, default, ..ClientSettings::default() };
        assert_eq!(warnings(&of(vec![Selector::default(), Selector::default()], None)), 1);
        assert_eq!(warnings(&of(vec![Selector::default(), of_country], None)), 0);
        assert_eq!(warnings(&of(vec![Selector::default()], Some(RegionId(0)))), 0);
        assert_eq!(warnings(&of(vec![], None)), 0, "there are no settings");
    }

    #[test]
    fn an_entry_of_a_database_or_a_region_selects_somebody() {
        let country = Country::parse("TR");
        let mut builder = DatabaseBuilder::new("d".to_owned(), FileStamp::default());
        builder.add_facts(Facts { country, asn: Some(64500), continent: Some(Continent::Asia), ..Facts::default() });
        let databases = [Arc::new(builder.finish())];
        let claim = Selector { countries: vec![Country::parse("DE").unwrap()], ..Selector::default() };
        let settings = ClientSettings { claims: vec![claim], ..ClientSettings::default() };
        for (sought, expected) in [
            (sought(&["TR", "DE"], &["AS", "EU"], &[64500]), None),
            (
                sought(&["NO", "SE", "DE"], &["SA"], &[]),
                Some(
                    "this `when` selects nobody by `NO`, `SE` and `SA`: neither a database of clients nor a region has \
                     it",
                ),
            ),
            (
                sought(&["TR"], &[], &[64501]),
                Some("this `when` selects nobody by `AS64501`: no database of clients has it"),
            ),
            (
                sought(&["NO", "SE", "FI", "DK", "IS", "FR"], &[], &[]),
                Some(
                    "this `when` selects nobody by `NO`, `SE`, `FI`, `DK` and 2 more: neither a database of clients \
                     nor a region has it",
                ),
            ),
        ] {
            let mut problems = Problems::default();
            check(&[sought], &settings, &databases, &mut problems);
            let found: Vec<String> = problems.into_sorted().into_iter().map(|problem| problem.message).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
