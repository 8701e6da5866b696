//! Which clients a `when`, a fence or a group means, as it is written; `[fence.NAME]` and `[group.NAME]`. The nets of
//! files are added by `net_files`, before anything is validated.

use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Value as Json, json};

use crate::config::client_lists::{asns, continents, countries, each_once, names, net};
use crate::config::fields::Fields;
use crate::config::keys::{
    Key, KeyGroup, KeyKind as _, List, Table, TextKind, boolean, check_name, inline, keys, object, texts,
};
use crate::model::{Continent, Country};
use crate::source::{At, ManualSection, Problems, did_you_mean};

pub(super) const EXAMPLE: &str = "{ continents = [\"EU\"] }";
const ALLOW_EXAMPLE: &str = "{ countries = [\"DE\", \"NL\"] }";

keys! {
    /// `when` of a member, `clients` of a fence, or a group.
    SelectorSpec {
        /// clients of these nets and addresses. `"file:NAME"` reads them from a file in the zones directory, relative
        /// to the policy file: one net or address a line, `#` begins a comment, at most 1,000,000 lines and 64 MiB
        nets: NetList = net_list().then(nets), default NetList::default();
        /// clients of these autonomous systems: `64500` or `"AS64500"`
        asns: Vec<At<u32>> = asns(), default Vec::new();
        /// clients in these countries, by their codes in ISO 3166-1: `"DE"`; the United Kingdom is `"GB"`
        countries: Vec<At<Country>> = countries(), default Vec::new();
        /// clients on these continents: `AF` Africa, `AN` Antarctica, `AS` Asia, `EU` Europe, `NA` North America, `OC`
        /// Oceania, `SA` South America
        continents: Vec<At<Continent>> = continents(), default Vec::new();
        /// clients of these regions, `[regions.NAME]` in the settings. All rules for [where clients
        /// are](#where-clients-are) apply, also `clients.default_region`
        regions: Vec<At<String>> = names("[\"eu-central\"]"), default Vec::new();
        /// clients of these groups, see [below](#groupname-clients-with-a-name)
        groups: Vec<At<String>> = names("[\"offices\"]"), default Vec::new();
        /// `true`: clients whose region, country and continent are all unknown
        unknown: bool = boolean(), default false;
    }
}

/// NetList that are written out, files of nets, and the nets of these files, each where the file is named.
#[derive(Debug, Default)]
pub(in crate::config) struct NetList {
    pub(in crate::config) written: Vec<At<IpNet>>,
    pub(in crate::config) files: Vec<At<String>>,
    pub(in crate::config) of_files: Vec<At<Arc<[IpNet]>>>,
}

fn net_list() -> List<TextKind> {
    texts("[\"192.0.2.0/24\", \"file:office-nets.txt\"]")
}

fn nets(list: At<Vec<At<String>>>, problems: &mut Problems) -> Option<NetList> {
    let (mut nets, mut files) = (Vec::new(), Vec::new());
    for written in list.value {
        match written.value.strip_prefix("file:") {
            Some("") => {
                let problem = problems.error(&written.place, "\"file:\" names no file");
                problem.hint("write \"file:office-nets.txt\", relative to the policy file");
            }
            Some(name) => files.push(At { value: name.to_string(), place: written.place }),
            None => nets.extend(net(&written, problems).map(|value| At { value, place: written.place })),
        }
    }
    let written = each_once(nets, ToString::to_string, problems);
    let files = each_once(files, |file| format!("file:{file}"), problems);
    Some(NetList { written, files, of_files: Vec::new() })
}

impl Table for SelectorSpec {
    fn check(&mut self, is_clean: bool, problems: &mut Problems) -> bool {
        let key = &self.name.value;
        let hint = format!("write `{key} = {EXAMPLE}`; there is {LISTS}, groups and unknown");
        self.check_empty(&format!("`{key}` names no clients"), &hint, is_clean, problems)
    }

    fn schema() -> Json {
        not_empty(object(&Self::keys()))
    }
}

/// What there is in every selector.
const LISTS: &str = "nets, asns, countries, continents, regions";

/// With one key at least.
pub(super) fn not_empty(mut table: Json) -> Json {
    table["minProperties"] = json!(1);
    table
}

impl SelectorSpec {
    /// A selector that names no clients is a problem, and can't be used.
    fn check_empty(&self, message: &str, hint: &str, is_clean: bool, problems: &mut Problems) -> bool {
        let is_empty = is_clean && self.is_empty();
        if is_empty {
            problems.error(&self.name.place, message).hint(hint);
        }
        !is_empty
    }

    /// Whether it lists nothing, or nothing that could be read.
    fn is_empty(&self) -> bool {
        let nets = self.nets.written.len() + self.nets.files.len() + self.asns.len();
        let places = self.countries.len() + self.continents.len() + self.regions.len();
        nets + places + self.groups.len() == 0 && !*self.unknown
    }

    /// Whether `other` lists clients, and all of them are surely clients of this one too, by what both list. Lists with
    /// very many nets are not compared, and files of nets neither.
    pub(in crate::config) fn covers(&self, other: &SelectorSpec) -> bool {
        /// Most pairs of nets (judgment).
        const MOST_PAIRS: usize = 4096;
        let (own, nets) = (&self.nets.written, &other.nets.written);
        let is_country = |country: &Country| {
            let is_there = |at: &At<Country>| at.value == *country;
            self.countries.iter().any(is_there) || self.continents.iter().any(|at| at.value == country.continent())
        };
        !other.is_empty()
            && other.nets.files.is_empty()
            && own.len() * nets.len() <= MOST_PAIRS
            && nets.iter().all(|net| own.iter().any(|own| own.value.contains(&net.value)))
            && other.countries.iter().all(|at| is_country(&at.value))
            && all_among(&other.continents, &self.continents)
            // These are sorted, and may be long.
            && other.asns.iter().all(|at| self.asns.binary_search_by_key(&at.value, |own| own.value).is_ok())
            && all_among(&other.regions, &self.regions)
            && all_among(&other.groups, &self.groups)
            && (!*other.unknown || *self.unknown)
    }

    /// What it is, for messages: `when`, `clients` or `group`.
    pub(in crate::config) fn kind(&self) -> &str {
        if self.has_lines_of_its_own() { "group" } else { &self.name.value }
    }
}

/// Whether each value of a list is in another one.
fn all_among<T: PartialEq>(list: &[At<T>], other: &[At<T>]) -> bool {
    list.iter().all(|at| other.iter().any(|of| of.value == at.value))
}

/// `[group.NAME]`: a selector without `groups`, because a group within a group would be a second thing to look up.
#[derive(Debug)]
pub(in crate::config) struct GroupSpec {
    /// Its name.
    pub(in crate::config) name: At<String>,
    /// Its clients; `None` where that couldn't be read.
    pub(in crate::config) clients: Option<SelectorSpec>,
}

impl KeyGroup for GroupSpec {
    fn keys() -> Vec<Key> {
        SelectorSpec::keys().into_iter().filter(|key| key.name != "groups").collect()
    }

    fn take(fields: &mut Fields, problems: &mut Problems) -> GroupSpec {
        let name = fields.head().name.clone();
        GroupSpec { name, clients: Some(SelectorSpec::take(fields, problems)) }
    }
}

impl Table for GroupSpec {
    const SECTION: Option<ManualSection> = Some(ManualSection::Group);

    fn check(&mut self, is_clean: bool, problems: &mut Problems) -> bool {
        let GroupSpec { name, clients } = self;
        check_name(name, "a group", problems);
        self.clients = clients.take().filter(|clients| {
            if let Some(place) = clients.place_of("groups") {
                let problem = problems.error(place, format!("unknown key `groups` in {}", clients.what()));
                problem.hint = did_you_mean("groups", GroupSpec::keys().iter().map(|key| key.name));
                return false;
            }
            let message = format!("group `{}` names no clients", name.value);
            let hint = format!("write `nets = [\"192.0.2.0/24\"]`; there is {LISTS} and unknown");
            clients.check_empty(&message, &hint, is_clean, problems)
        });
        true
    }

    fn schema() -> Json {
        not_empty(object(&Self::keys()))
    }
}

keys! {
    /// `[fence.NAME]`.
    FenceSpec {
        /// the clients of this fence; the same keys as in `when`
        clients: SelectorSpec = inline(EXAMPLE),
            required &format!("write which clients it is for: `clients = {EXAMPLE}`");
        /// where these clients may be sent: to endpoints whose `country` is in `countries` or on one of `continents`,
        /// or whose `region` is in `regions`. An endpoint without `country` and `region` is outside
        allow: Allow = inline(ALLOW_EXAMPLE),
            required &format!("write where these clients may be sent: `allow = {ALLOW_EXAMPLE}`");
    }
}

keys! {
    /// `allow` of a fence.
    Allow {
        /// endpoints in these countries
        countries: Vec<At<Country>> = countries(), default Vec::new();
        /// endpoints in countries of these continents
        continents: Vec<At<Continent>> = continents(), default Vec::new();
        /// endpoints of these regions
        regions: Vec<At<String>> = texts("[\"eu-central\"]").with_schema(|| names("").schema()), default Vec::new();
    }
}

impl Table for FenceSpec {
    const SECTION: Option<ManualSection> = Some(ManualSection::Fence);

    fn check(&mut self, is_clean: bool, problems: &mut Problems) -> bool {
        check_name(&self.name, "a fence", problems);
        let Some(At { value: allow, .. }) = &self.allow else { return true };
        let is_empty = allow.countries.len() + allow.continents.len() + allow.regions.len() == 0;
        if is_empty && is_clean {
            let problem = problems.error(&allow.name.place, format!("`allow` of {} allows nothing", self.what()));
            problem.hint(format!("write `allow = {ALLOW_EXAMPLE}`; there is countries, continents and regions"));
        }
        true
    }
}

impl Table for Allow {
    fn schema() -> Json {
        not_empty(object(&Self::keys()))
    }
}
