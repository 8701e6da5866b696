//! The second word of a token: its role, and for which endpoints or zones it counts: `beat:fra1,svc.example/fra2`,
//! `operate:svc.example`. A word without a scope counts for all of them.

use std::sync::Arc;

use crate::model::{Endpoint, Model, glob};
use crate::source::{At, Problems, Source, did_you_mean};
use crate::wire::Name;

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read the overrides.
    Read,
    /// Send heartbeats.
    Beat,
    /// Change overrides and the choices of `failback`.
    Operate,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Read, Role::Beat, Role::Operate];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Beat => "beat",
            Role::Operate => "operate",
        }
    }
}

/// What the holder of a token may do.
#[derive(Debug, Clone, PartialEq)]
pub enum Rights {
    /// Read the overrides.
    Read,
    /// Send heartbeats of these endpoints; `None`: of all.
    Beat(Option<Arc<[EndpointPattern]>>),
    /// Everything, for the endpoints and names of these zones; `None`: of all.
    Operate(Option<Arc<[Name]>>),
}

impl Rights {
    /// The role.
    pub fn role(&self) -> Role {
        match self {
            Rights::Read => Role::Read,
            Rights::Beat(_) => Role::Beat,
            Rights::Operate(_) => Role::Operate,
        }
    }

    /// Whether a call that needs `need` is allowed, at least for some endpoints. The role `operate` includes the
    /// others; `beat` does not include `read`.
    pub fn include(&self, need: Role) -> bool {
        self.role() == need || self.role() == Role::Operate
    }

    /// The zones in which the holder may set overrides; `None`: in all.
    pub fn zones(&self) -> Option<&Arc<[Name]>> {
        match self {
            Rights::Read | Rights::Beat(_) => None,
            Rights::Operate(zones) => zones.as_ref(),
        }
    }

    /// Whether the holder may send heartbeats of an endpoint in a zone.
    pub fn may_beat(&self, zone: &Name, endpoint: &str) -> bool {
        match self {
            Rights::Read => false,
            Rights::Beat(None) | Rights::Operate(None) => true,
            Rights::Beat(Some(patterns)) => patterns.iter().any(|pattern| pattern.matches(zone, endpoint)),
            Rights::Operate(Some(zones)) => zones.contains(zone),
        }
    }
}

/// `ENDPOINT` or `ZONE/ENDPOINT`; the endpoint may be a pattern, as in `fra*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPattern {
    zone: Option<Name>,
    endpoint: String,
}

impl EndpointPattern {
    fn matches(&self, zone: &Name, endpoint: &str) -> bool {
        self.zone.as_ref().is_none_or(|own| own == zone) && glob::matches(&self.endpoint, endpoint)
    }
}

/// An item of a scope with its place, for warnings about names that do not exist.
#[derive(Debug, Clone)]
pub(super) struct WrittenScope(At<ScopeItem>);

#[derive(Debug, Clone)]
enum ScopeItem {
    Endpoint(EndpointPattern),
    Zone(Name),
}

/// Most items in a scope (judgment: a worker beats for one or a few endpoints, and a pattern stands for many).
const MAX_ITEMS: usize = 256;
/// An unknown role is compared with the known ones up to this length in octets. It may be a secret.
const MAX_COMPARED: usize = 64;

const ENDPOINTS: &str = "write `beat` for all endpoints, or `beat:fra1,svc.example/fra2,ams*`";
const ZONES: &str = "write `operate` for all zones, or `operate:svc.example,other.example`";

/// Reads the word, which begins at octet `start`. Adds the items of its scope to `scopes`. After an error the rights
/// are the least.
pub(super) fn rights(
    source: &Source<'_>,
    word: &[u8],
    start: usize,
    scopes: &mut Vec<WrittenScope>,
    problems: &mut Problems,
) -> Rights {
    let colon = word.iter().position(|byte| *byte == b':');
    let (role, scope) = match colon {
        Some(colon) => (&word[..colon], Some((&word[colon + 1..], start + colon + 1))),
        None => (word, None),
    };
    let Some(role) = Role::ALL.into_iter().find(|known| known.as_str().as_bytes() == role) else {
        let written = String::from_utf8_lossy(&role[..role.len().min(MAX_COMPARED)]);
        // This may be a secret, if the role is missing: it is not shown.
        let problem = problems.error(&source.place(start), "the second word is not a role");
        problem.hint = did_you_mean(&written, Role::ALL.map(Role::as_str));
        return Rights::Read;
    };
    match (role, scope) {
        (Role::Read, None) => Rights::Read,
        (Role::Read, Some((_, at))) => {
            problems.error(&source.place(at), "the role `read` has no scope").hint("write `read`");
            Rights::Read
        }
        (Role::Beat, None) => Rights::Beat(None),
        (Role::Operate, None) => Rights::Operate(None),
        (Role::Beat, Some(scope)) => {
            let found = items(source, scope, ENDPOINTS, endpoint_of, problems);
            scopes.extend(found.iter().map(|item| WrittenScope(item.clone().map(ScopeItem::Endpoint))));
            Rights::Beat(Some(found.into_iter().map(|item| item.value).collect()))
        }
        (Role::Operate, Some(scope)) => {
            let found = items(source, scope, ZONES, zone_of, problems);
            scopes.extend(found.iter().map(|item| WrittenScope(item.clone().map(ScopeItem::Zone))));
            Rights::Operate(Some(found.into_iter().map(|item| item.value).collect()))
        }
    }
}

/// The items of a scope that begins at octet `start`.
fn items<T>(
    source: &Source<'_>,
    (scope, start): (&[u8], usize),
    hint: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
    problems: &mut Problems,
) -> Vec<At<T>> {
    let mut found = Vec::new();
    let mut at = start;
    for (nth, written) in scope.split(|byte| *byte == b',').enumerate() {
        let place = source.place(at);
        at += written.len() + 1;
        if nth == MAX_ITEMS {
            problems.error(&place, format!("a scope has at most {MAX_ITEMS} names")).hint(hint);
            break;
        }
        match std::str::from_utf8(written).map_err(|_| "this is not UTF-8").and_then(&parse) {
            Ok(value) => found.push(At { value, place }),
            Err(why) => problems.error(&place, why).hint(hint),
        }
    }
    found
}

fn endpoint_of(written: &str) -> Result<EndpointPattern, &'static str> {
    let (zone, endpoint) = match written.rsplit_once('/') {
        Some((zone, endpoint)) => (Some(zone_of(zone)?), endpoint),
        None => (None, written),
    };
    let is_plain = endpoint.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-*?".contains(&byte));
    match endpoint.is_empty() || !is_plain {
        true => Err("the scope of `beat` has names of endpoints, and here is none"),
        false => Ok(EndpointPattern { zone, endpoint: endpoint.to_owned() }),
    }
}

fn zone_of(written: &str) -> Result<Name, &'static str> {
    const WRONG: &str = "here is no name of a zone";
    let is_plain = written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match written.is_empty() || !is_plain {
        true => Err(WRONG),
        false => Name::parse(written).map_err(|_| WRONG),
    }
}

impl WrittenScope {
    /// Warns of it if `model` has no such endpoint or zone.
    pub(super) fn warn_if_unknown(&self, model: &Model, problems: &mut Problems) {
        let At { value, place } = &self.0;
        let zone = match value {
            ScopeItem::Zone(zone) => Some(zone),
            ScopeItem::Endpoint(pattern) => pattern.zone.as_ref(),
        };
        if let Some(zone) = zone.filter(|zone| model.zones.iter().all(|known| known.apex != **zone)) {
            let known: Vec<String> = model.zones.iter().map(|zone| zone.apex.to_string()).collect();
            let hint = did_you_mean(&zone.to_string(), known.iter().map(String::as_str));
            let problem = problems.warning(place, format!("no zone is called `{zone}`"));
            problem.hint = hint;
            return;
        }
        let ScopeItem::Endpoint(pattern) = value else { return };
        let EndpointPattern { zone, endpoint: name } = pattern;
        let is_in_zone =
            |endpoint: &&Endpoint| zone.as_ref().is_none_or(|zone| model.zone(endpoint.zone).apex == *zone);
        let inside = || model.endpoints.iter().filter(is_in_zone);
        if inside().any(|endpoint| glob::matches(name, &endpoint.name)) {
            return;
        }
        let message = match zone {
            _ if glob::is_pattern(name) => format!("no endpoint matches `{name}`"),
            Some(zone) => format!("no endpoint of zone `{zone}` is called `{name}`"),
            None => format!("no endpoint is called `{name}`"),
        };
        let hint = did_you_mean(name, inside().map(|endpoint| endpoint.name.as_str()));
        problems.warning(place, message).hint = hint;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(word: &str) -> (Rights, Vec<String>) {
        let (mut problems, mut scopes) = (Problems::default(), Vec::new());
        let rights =
            rights(&Source::new(Path::new("f"), word.as_bytes()), word.as_bytes(), 0, &mut scopes, &mut problems);
        let found = problems.into_sorted();
        (rights, found.iter().map(|problem| format!("{}: {}", problem.column, problem.message)).collect())
    }

    #[test]
    fn a_role_allows_these_calls() {
        for (word, allowed) in [
            ("read", &[Role::Read][..]),
            ("beat", &[Role::Beat]),
            ("beat:fra1", &[Role::Beat]),
            ("operate", &Role::ALL),
            ("operate:svc.example", &Role::ALL),
        ] {
            let (rights, problems) = read(word);
            assert_eq!(problems, Vec::<String>::new(), "{word}");
            assert_eq!(
                Role::ALL.into_iter().filter(|need| rights.include(*need)).collect::<Vec<_>>(),
                allowed,
                "{word}"
            );
        }
    }

    #[test]
    fn heartbeats_are_of_the_endpoints_of_the_scope() {
        let [svc, other] = ["svc.example", "other.example"].map(|name| Name::parse(name).unwrap());
        let all = [(&svc, "fra1"), (&svc, "fra2"), (&other, "fra1"), (&svc, "FRA1")];
        for (word, expected) in [
            ("read", [false; 4]),
            ("beat", [true; 4]),
            ("operate", [true; 4]),
            ("beat:fra1", [true, false, true, false]),
            ("beat:SVC.example./fra1", [true, false, false, false]),
            ("beat:nyc,fra?", [true, true, true, false]),
            ("beat:other.example/*", [false, false, true, false]),
            ("operate:Svc.Example", [true, true, false, true]),
        ] {
            let (rights, problems) = read(word);
            assert_eq!(problems, Vec::<String>::new(), "{word}");
            assert_eq!(all.map(|(zone, endpoint)| rights.may_beat(zone, endpoint)), expected, "{word}");
        }
    }

    #[test]
    fn a_wrong_scope_is_an_error_at_its_place() {
        let (no_endpoint, no_zone) =
            ("the scope of `beat` has names of endpoints, and here is none", "here is no name of a zone");
        for (word, expected) in [
            ("read:fra1", "6: the role `read` has no scope".to_owned()),
            ("beat:", format!("6: {no_endpoint}")),
            ("beat:fra1,", format!("11: {no_endpoint}")),
            ("beat:fra1,,fra2", format!("11: {no_endpoint}")),
            ("beat:pool:web", format!("6: {no_endpoint}")),
            ("beat:svc.example/", format!("6: {no_endpoint}")),
            ("beat:/fra1", format!("6: {no_zone}")),
            ("operate:", format!("9: {no_zone}")),
            ("operate:zone:svc.example", format!("9: {no_zone}")),
            ("operate:svc.example,a..b", format!("21: {no_zone}")),
            ("operate:svc.example/fra1", format!("9: {no_zone}")),
            ("Operate", "1: the second word is not a role".to_owned()),
            ("beats:fra1", "1: the second word is not a role".to_owned()),
            (&format!("beat:{}", "a,".repeat(MAX_ITEMS + 1)), "518: a scope has at most 256 names".to_owned()),
        ] {
            assert_eq!(read(word).1, [expected], "{word}");
        }
    }
}
