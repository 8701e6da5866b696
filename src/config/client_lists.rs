//! Lists by which clients are selected: nets, autonomous systems, countries and continents, for the selectors of
//! policy files and for the regions of the settings. A wrong entry is an error and is left out; an entry that is
//! listed twice is a warning.

use std::collections::BTreeMap;
use std::fmt::Display;

use ipnet::IpNet;
use serde_json::{Value as Json, json};

use crate::config::fields::wrong_type;
use crate::config::keys::{KeyKind, NAME, WrongText, custom, in_any_case, list, texts, wrong};
use crate::config::node::{Kind, Node};
use crate::model::{Continent, Country};
use crate::source::{At, Place, Problems, listed};

/// The schema's pattern of a country: two letters. `country` checks that the code exists.
pub(super) const COUNTRY: &str = "^[A-Za-z]{2}$";

/// Codes that people write by mistake, each with the correct code of ISO 3166-1.
const MISTAKEN: [(&str, &str, &str); 2] = [("UK", "GB", "the United Kingdom"), ("EL", "GR", "Greece")];

/// `asns = [64500, "AS64500"]`.
pub(super) fn asns() -> impl KeyKind<Value = Vec<At<u32>>> {
    list(custom(asn, asn_schema), "[64500]").then(|list, problems| Some(sorted(list, problems)))
}

/// `countries = ["DE", "NL"]`.
pub(super) fn countries() -> impl KeyKind<Value = Vec<At<Country>>> {
    texts("[\"DE\"]")
        .each(country)
        .then(|list, problems| Some(sorted(list, problems)))
        .with_schema(|| json!({ "type": "array", "items": { "type": "string", "pattern": COUNTRY } }))
}

/// `continents = ["EU"]`.
pub(super) fn continents() -> impl KeyKind<Value = Vec<At<Continent>>> {
    let schema = || json!({ "type": "array", "items": in_any_case(&Continent::ALL.map(Continent::as_str)) });
    texts("[\"EU\"]").each(continent).then(|list, problems| Some(sorted(list, problems))).with_schema(schema)
}

/// A list of names, each once; `example` is the whole list.
pub(super) fn names(example: &'static str) -> impl KeyKind<Value = Vec<At<String>>> {
    let parse = |list: At<Vec<At<String>>>, problems: &mut Problems| {
        Some(each_once(list.value, |name| format!("`{name}`"), problems))
    };
    texts(example)
        .then(parse)
        .with_schema(|| json!({ "type": "array", "items": { "type": "string", "pattern": NAME } }))
}

/// A country by its code.
pub(super) fn country(written: &str) -> Result<Country, WrongText> {
    Country::parse(written).ok_or_else(|| {
        let mistaken = MISTAKEN.iter().find(|(wrong, ..)| wrong.eq_ignore_ascii_case(written));
        let hint = match (mistaken, Continent::parse(written)) {
            (Some((_, code, called)), _) => format!("did you mean `{code}`? That is the code of {called}"),
            (None, Some(continent)) => format!("it is a continent: `continents = [\"{continent}\"]`"),
            (None, None) => "write the two letters of ISO 3166-1: \"DE\" for Germany".into(),
        };
        wrong(format!("there is no country `{written}`"), hint)
    })
}

fn continent(written: &str) -> Result<Continent, WrongText> {
    Continent::parse(written).ok_or_else(|| {
        let hint = match Country::parse(written) {
            Some(country) => format!("it is a country: `countries = [\"{country}\"]`"),
            None => format!("there is {}", listed(&Continent::ALL.map(Continent::as_str))),
        };
        wrong(format!("there is no continent `{written}`"), hint)
    })
}

fn asn_schema() -> Json {
    json!({ "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        { "type": "string", "pattern": "^([Aa][Ss])?[0-9]{1,10}$" },
    ] })
}

/// The number of an autonomous system (RFC 6793): 32 bits.
fn asn(_: &At<String>, item: Node, problems: &mut Problems) -> Option<u32> {
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

/// The entries of a list, sorted, each once.
fn sorted<T: Ord + Clone + Display>(list: At<Vec<At<T>>>, problems: &mut Problems) -> Vec<At<T>> {
    let mut entries = each_once(list.value, ToString::to_string, problems);
    entries.sort_by(|a, b| a.value.cmp(&b.value));
    entries
}

/// The entries of a list without repetitions. A repetition is a warning.
pub(super) fn each_once<T: Ord + Clone>(
    mut entries: Vec<At<T>>,
    show: fn(&T) -> String,
    problems: &mut Problems,
) -> Vec<At<T>> {
    let mut known: BTreeMap<T, Place> = BTreeMap::new();
    entries.retain(|At { value, place }| {
        if let Some(first) = known.get(value) {
            let problem = problems.warning(place, format!("{} is listed twice", show(value)));
            problem.label(first, "first here").hint("leave one of them out");
            return false;
        }
        known.insert(value.clone(), place.clone());
        true
    });
    entries
}

/// A net without bits beyond its length. An address is a net with one address.
pub(super) fn net(written: &At<String>, problems: &mut Problems) -> Option<IpNet> {
    let text = &written.value;
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    let Ok(net) = parsed else {
        problems.error(&written.place, format!("\"{text}\" is not a net")).hint("write it as \"192.0.2.0/24\"");
        return None;
    };
    if net.trunc() != net {
        let problem = problems.error(&written.place, format!("{net} has bits beyond its length"));
        problem.hint(format!("write \"{}\"", net.trunc()));
        return None;
    }
    Some(net)
}
