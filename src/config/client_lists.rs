//! Lists of clients as people write them: autonomous systems, countries and continents. The selectors of policy files and
//! the regions of the settings read them alike. Every wrong entry is told and left out; one that is written twice is
//! warned of.

use std::collections::BTreeMap;

use crate::config::fields::{self, Fields, wrong_type};
use crate::config::node::{Kind, Node};
use crate::config::problem::{Problems, listed};
use crate::config::source::{At, Place};
use crate::model::{Continent, Country};

/// Codes that people write for countries, and the ISO 3166-1 code of each.
const MISTAKEN: [(&str, &str, &str); 2] = [("UK", "GB", "the United Kingdom"), ("EL", "GR", "Greece")];

/// `asns = [64500, "AS64501"]`.
pub(super) fn asns(fields: &mut Fields, problems: &mut Problems) -> Vec<At<u32>> {
    items(fields, "asns", "[64500]", asn, problems)
}

/// `countries = ["DE", "NL"]`.
pub(super) fn countries(fields: &mut Fields, problems: &mut Problems) -> Vec<At<Country>> {
    let read = |item, problems: &mut Problems| {
        let At { value, place } = fields::item(item, "countries", "[\"DE\"]", problems)?;
        country(&value, &place, problems)
    };
    items(fields, "countries", "[\"DE\"]", read, problems)
}

/// `continents = ["EU"]`.
pub(super) fn continents(fields: &mut Fields, problems: &mut Problems) -> Vec<At<Continent>> {
    items(fields, "continents", "[\"EU\"]", continent, problems)
}

/// A country by its code; a problem when there is none.
pub(super) fn country(written: &str, place: &Place, problems: &mut Problems) -> Option<Country> {
    let found = Country::parse(written);
    if found.is_none() {
        let mistaken = MISTAKEN.iter().find(|(wrong, ..)| wrong.eq_ignore_ascii_case(written));
        let hint = match (mistaken, Continent::parse(written)) {
            (Some((_, code, called)), _) => format!("did you mean `{code}`? That is the code of {called}"),
            (None, Some(continent)) => format!("it is a continent: `continents = [\"{continent}\"]`"),
            (None, None) => "write the two letters of ISO 3166-1: \"DE\" for Germany".into(),
        };
        problems.error(place, format!("there is no country `{written}`")).hint(hint);
    }
    found
}

fn continent(item: Node, problems: &mut Problems) -> Option<Continent> {
    let At { value, place } = fields::item(item, "continents", "[\"EU\"]", problems)?;
    let found = Continent::parse(&value);
    if found.is_none() {
        let hint = match Country::parse(&value) {
            Some(country) => format!("it is a country: `countries = [\"{country}\"]`"),
            None => format!("there is {}", listed(&Continent::ALL.map(Continent::as_str))),
        };
        problems.error(&place, format!("there is no continent `{value}`")).hint(hint);
    }
    found
}

/// The number of an autonomous system (RFC 6793): 32 bits.
fn asn(item: Node, problems: &mut Problems) -> Option<u32> {
    let Node { place, kind } = item;
    let (found, shown) = match &kind {
        Kind::Integer(number) => (u32::try_from(*number).ok(), number.to_string()),
        Kind::Text(written) | Kind::Loose(written) => {
            let is_prefixed = written.get(..2).is_some_and(|two| two.eq_ignore_ascii_case("AS"));
            let digits = if is_prefixed { &written[2..] } else { written };
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            (digits.parse().ok().filter(|_| is_number), format!("\"{written}\""))
        }
        other => {
            let expected = "a number, or a text such as \"AS64500\"";
            wrong_type(&place, "an autonomous system", expected, other.described(), problems);
            return None;
        }
    };
    if found.is_none() {
        let problem = problems.error(&place, format!("{shown} is not the number of an autonomous system"));
        problem.hint(format!("write 64500 or \"AS64500\", from 0 to {}", u32::MAX));
    }
    found
}

/// The entries of the list under `key`, sorted, each once.
fn items<T: Ord + std::fmt::Display>(
    fields: &mut Fields,
    key: &'static str,
    example: &str,
    read: impl Fn(Node, &mut Problems) -> Option<T>,
    problems: &mut Problems,
) -> Vec<At<T>> {
    let mut known: BTreeMap<T, Place> = BTreeMap::new();
    for item in fields.list(key, example, problems).map_or_else(Vec::new, |list| list.value) {
        let place = item.place.clone();
        let Some(value) = read(item, problems) else { continue };
        match known.get(&value) {
            Some(first) => twice(&place, &value, first, problems),
            None => {
                known.insert(value, place);
            }
        }
    }
    known.into_iter().map(|(value, place)| At { value, place }).collect()
}

/// The entries without their places.
pub(super) fn values<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|at| at.value).collect()
}

/// The warning of an entry that a list has already.
pub(super) fn twice(place: &Place, entry: &dyn std::fmt::Display, first: &Place, problems: &mut Problems) {
    let problem = problems.warning(place, format!("{entry} is listed twice"));
    problem.label(first, "first here").hint("leave one of them out");
}
