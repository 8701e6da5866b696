//! Which clients a `when`, a fence or a group means, as it is written; and `[fence.*]` and `[group.*]` themselves. The nets of files that it names are
//! filled in by `net_files`, before anything is validated.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::client_lists::{asns, continents, countries, twice, values};
use crate::config::fields::{self, Fields};
use crate::config::problem::Problems;
use crate::config::regions::{check_name, net};
use crate::config::source::{At, Place};
use crate::model::{Continent, Country};

/// One selector.
#[derive(Debug)]
pub(in crate::config) struct SelectorSpec {
    /// Where it is written.
    pub(in crate::config) place: Place,
    /// What it is, for messages: `when`, `clients` or `group`.
    pub(in crate::config) key: &'static str,
    /// Nets that are written out.
    pub(in crate::config) nets: Vec<At<IpNet>>,
    /// Files of nets.
    pub(in crate::config) files: Vec<At<String>>,
    /// What is in them, each where it was named.
    pub(in crate::config) file_nets: Vec<At<Arc<[IpNet]>>>,
    /// Autonomous systems.
    pub(in crate::config) asns: Vec<At<u32>>,
    /// Countries.
    pub(in crate::config) countries: Vec<At<Country>>,
    /// Continents.
    pub(in crate::config) continents: Vec<At<Continent>>,
    /// Regions.
    pub(in crate::config) regions: Vec<At<String>>,
    /// Groups whose clients are meant too.
    pub(in crate::config) groups: Vec<At<String>>,
    /// Clients that nothing places.
    pub(in crate::config) unknown: bool,
}

/// One declared group of clients.
#[derive(Debug)]
pub(in crate::config) struct GroupSpec {
    /// Its name.
    pub(in crate::config) name: At<String>,
    /// Who is in it; `None` where that couldn't be read.
    pub(in crate::config) clients: Option<SelectorSpec>,
}

/// One declared fence.
#[derive(Debug)]
pub(in crate::config) struct FenceSpec {
    /// Its name.
    pub(in crate::config) name: At<String>,
    /// Whom it holds; `None` where that couldn't be read, which has been told.
    pub(in crate::config) clients: Option<SelectorSpec>,
    /// Endpoints in these countries are inside.
    pub(in crate::config) countries: Vec<Country>,
    /// Endpoints in countries of these continents are inside.
    pub(in crate::config) continents: Vec<Continent>,
    /// Endpoints of these regions are inside.
    pub(in crate::config) regions: Vec<At<String>>,
}

const EXAMPLE: &str = "{ continents = [\"EU\"] }";

/// The selector under `key`. One that names nobody is a problem.
pub(super) fn read(key: &'static str, fields: &mut Fields, problems: &mut Problems) -> Option<SelectorSpec> {
    let inner = fields.inline(key, EXAMPLE, problems)?;
    let hint = format!("write `{key} = {EXAMPLE}`; there is {LISTS}, groups and unknown");
    lists(key, inner, &format!("`{key}` names no clients"), hint, problems)
}

/// `[group.NAME]`.
pub(super) fn group(name: At<String>, fields: Fields, problems: &mut Problems) -> GroupSpec {
    check_name(&name, "a group", problems);
    let message = format!("group `{}` names no clients", name.value);
    let hint = format!("write `nets = [\"192.0.2.0/24\"]`; there is {LISTS} and unknown");
    let clients = lists(GROUP, fields, &message, hint, problems);
    GroupSpec { name, clients }
}

/// What a selector is called that is a group.
const GROUP: &str = "group";

/// What there is in every selector.
const LISTS: &str = "nets, asns, countries, continents, regions";

/// The lists of a table; one without an entry is told in these words.
fn lists(
    key: &'static str,
    mut inner: Fields,
    if_empty: &str,
    hint: String,
    problems: &mut Problems,
) -> Option<SelectorSpec> {
    let (place, before) = (inner.place.clone(), problems.errors());
    let (nets, files) = nets(&mut inner, problems);
    let selector = SelectorSpec {
        place,
        key,
        nets,
        files,
        file_nets: Vec::new(),
        asns: asns(&mut inner, problems),
        countries: countries(&mut inner, problems),
        continents: continents(&mut inner, problems),
        regions: names("regions", "[\"eu-central\"]", &mut inner, problems),
        // A group within a group would be a second thing to look up.
        groups: if key == GROUP { Vec::new() } else { names("groups", "[\"offices\"]", &mut inner, problems) },
        unknown: inner.boolean("unknown", problems).unwrap_or(false),
    };
    inner.finish(&[], problems);
    if problems.errors() == before && selector.is_empty() {
        problems.error(&selector.place, if_empty).hint(hint);
        return None;
    }
    Some(selector)
}

impl SelectorSpec {
    fn is_empty(&self) -> bool {
        let nets = self.nets.len() + self.files.len();
        let facts = self.asns.len() + self.countries.len() + self.continents.len();
        nets + facts + self.regions.len() + self.groups.len() == 0 && !self.unknown
    }
}

/// A list of names, each once.
fn names(key: &'static str, example: &str, fields: &mut Fields, problems: &mut Problems) -> Vec<At<String>> {
    let mut found: Vec<At<String>> = Vec::new();
    for written in fields.texts(key, example, problems).map_or_else(Vec::new, |list| list.value) {
        match found.iter().find(|other| other.value == written.value) {
            Some(first) => twice(&written.place, &format!("`{}`", written.value), &first.place, problems),
            None => found.push(written),
        }
    }
    found
}

/// Nets and addresses, and apart from them the files of nets.
fn nets(fields: &mut Fields, problems: &mut Problems) -> (Vec<At<IpNet>>, Vec<At<String>>) {
    let example = "[\"192.0.2.0/24\", \"file:office-nets.txt\"]";
    let (mut nets, mut files): (Vec<At<IpNet>>, Vec<At<String>>) = (Vec::new(), Vec::new());
    let mut known = std::collections::HashMap::new();
    for item in fields.list("nets", example, problems).map_or_else(Vec::new, |list| list.value) {
        let Some(written) = fields::item(item, "nets", example, problems) else { continue };
        match written.value.strip_prefix("file:") {
            Some("") => {
                let problem = problems.error(&written.place, "\"file:\" names no file");
                problem.hint("write \"file:office-nets.txt\", relative to the policy file");
            }
            Some(name) => match files.iter().find(|file| file.value == name) {
                Some(first) => twice(&written.place, &written.value, &first.place, problems),
                None => files.push(At { value: name.to_string(), place: written.place }),
            },
            None => {
                let Some(value) = net(&written, problems) else { continue };
                match known.entry(value) {
                    Entry::Occupied(first) => twice(&written.place, &value, first.get(), problems),
                    Entry::Vacant(new) => {
                        new.insert(written.place.clone());
                        nets.push(At { value, place: written.place });
                    }
                }
            }
        }
    }
    (nets, files)
}

/// `[fence.NAME]`.
pub(super) fn fence(name: At<String>, mut fields: Fields, problems: &mut Problems) -> FenceSpec {
    check_name(&name, "a fence", problems);
    let what = fields.what.clone();
    if fields.lacks("clients") {
        let problem = problems.error(&name.place, format!("{what} has no `clients`"));
        problem.hint(format!("say whom it holds: `clients = {EXAMPLE}`"));
    }
    let example = "{ countries = [\"DE\", \"NL\"] }";
    if fields.lacks("allow") {
        let problem = problems.error(&name.place, format!("{what} has no `allow`"));
        problem.hint(format!("say where those clients may be sent: `allow = {example}`"));
    }
    let clients = read("clients", &mut fields, problems);
    let mut fence = FenceSpec { name, clients, countries: Vec::new(), continents: Vec::new(), regions: Vec::new() };
    if let Some(mut allow) = fields.inline("allow", example, problems) {
        let (place, before) = (allow.place.clone(), problems.errors());
        fence.countries = values(countries(&mut allow, problems));
        fence.continents = values(continents(&mut allow, problems));
        let regions = allow.texts("regions", "[\"eu-central\"]", problems);
        fence.regions = regions.map_or_else(Vec::new, |list| list.value);
        allow.finish(&[], problems);
        let allowed = fence.countries.len() + fence.continents.len() + fence.regions.len();
        if allowed == 0 && problems.errors() == before {
            let problem = problems.error(&place, format!("`allow` of {what} allows nothing"));
            problem.hint(format!("write `allow = {example}`; there is countries, continents and regions"));
        }
    }
    fields.finish(&[], problems);
    fence
}
