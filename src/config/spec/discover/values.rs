//! The values of `[discover.NAME]`: texts, templates, URLs, and what a value of an endpoint is read from.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde_json::{Value as Json, json};

use crate::config::fields::wrong_type;
use crate::config::keys::{WrongText, accepted, wrong};
use crate::config::node::{Entry, Kind, Node};
use crate::model::Mapping;
use crate::source::{At, Problems};
use crate::wire::Name;

/// Longest text of a key, in octets (judgment: twice what a URL has in practice).
const MAX_KEY_TEXT: usize = 1024;

/// A text with at least one octet, no control characters, and a bounded length.
pub(super) fn plain(written: &str) -> Result<String, WrongText> {
    if !written.is_empty() && written.len() <= MAX_KEY_TEXT && !written.chars().any(char::is_control) {
        return Ok(written.to_owned());
    }
    let message = format!("this must be a text of 1 to {MAX_KEY_TEXT} octets without control characters");
    Err(WrongText::new(message, None))
}

/// The name of a file in the zones directory: who may write a policy must not have other files read, whose text would
/// be sent to a server.
pub(super) fn file(written: &str) -> Result<String, WrongText> {
    let value = plain(written)?;
    let is_within = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(&value).components().all(is_within) {
        return Ok(value);
    }
    let hint = "put the file, or a link to it, into the zones directory, and write its name";
    Err(wrong(format!("\"{value}\" is not in the zones directory"), hint))
}

/// The template of names.
pub(super) fn template(written: &str) -> Result<String, WrongText> {
    let value = plain(written)?;
    let rest =
        ["{name}", "{address}", "{port}", "{region}"].iter().fold(value.clone(), |rest, of| rest.replace(of, ""));
    if rest.contains(['{', '}']) {
        let hint = "`{name}`, `{address}`, `{port}` and `{region}` are replaced";
        return Err(wrong(format!("\"{value}\" has an unknown word in braces"), hint));
    }
    if rest == value {
        let message = format!("\"{value}\" is the same name for all endpoints");
        return Err(wrong(message, "write `names = \"web-{name}\"`"));
    }
    Ok(value)
}

/// The template of keys of overrides: `{target}` once.
pub(super) fn target_template(written: &str) -> Result<String, WrongText> {
    let value = plain(written)?;
    if value.matches("{target}").count() == 1 {
        return Ok(value);
    }
    let message = format!("\"{value}\" must have `{{target}}` once");
    Err(wrong(message, "write `overrides = \"/services/{target}/status\"`"))
}

/// A URL over HTTP.
pub(super) fn url(written: &str) -> Result<String, WrongText> {
    let value = plain(written)?;
    match url::Url::parse(&value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            if !url.username().is_empty() || url.password().is_some() {
                let hint = "write the token into a file, and its name into `token_file`";
                return Err(wrong("a URL with a password would be in the log", hint));
            }
            Ok(value)
        }
        Ok(_) | Err(_) => {
            let hint = "write `http://HOST:PORT/PATH` or `https://HOST/PATH`";
            Err(wrong(format!("\"{value}\" is no URL of HTTP"), hint))
        }
    }
}

/// A URL without a query.
pub(super) fn base_url(written: &str) -> Result<String, WrongText> {
    let value = url(written)?;
    if value.contains(['?', '#']) {
        return Err(wrong(format!("\"{value}\" has a query"), "write the server alone: `http://HOST:PORT`"));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

pub(super) fn looked_up(written: &str) -> Result<Name, WrongText> {
    let name = Name::parse(written).ok().filter(|name| *name != Name::root() && !name.is_wildcard());
    let hint = "write `name = \"web.internal.\"` or `name = \"_http._tcp.web.internal.\"`";
    name.ok_or_else(|| wrong(format!("\"{written}\" is not a name to look up"), hint))
}

pub(super) fn check_resolver(written: &str) -> Result<(), WrongText> {
    if written.parse::<std::net::IpAddr>().is_ok() || written.parse::<std::net::SocketAddr>().is_ok() {
        return Ok(());
    }
    let hint = "write `resolvers = [\"192.0.2.53\"]` or `[\"192.0.2.53:5353\"]`";
    Err(wrong(format!("\"{written}\" is not the address of a resolver"), hint))
}

/// The words for a field: all mean the same, each is that of a source.
const FIELD_WORDS: [&str; 3] = ["meta", "label", "field"];

/// A text or number for all, or `{ meta = "region" }`.
pub(super) fn mapping(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Mapping> {
    let Node { place, kind } = node;
    let key = &key.value;
    let hint = || format!("write `{key} = \"VALUE\"`, or `{key} = {{ meta = \"FIELD\" }}`");
    match kind {
        Kind::Text(value) | Kind::Loose(value) => accepted(plain(&value), &place, problems).map(Mapping::Fixed),
        Kind::Integer(value) => Some(Mapping::Fixed(value.to_string())),
        Kind::Table(entries) => match &entries[..] {
            [entry] if FIELD_WORDS.contains(&entry.key.value.as_str()) => match &entry.value.kind {
                Kind::Text(name) => accepted(plain(name), &place, problems).map(Mapping::Field),
                other => {
                    wrong_type(&place, "the name of a field", "a string", other.described(), problems).hint(hint());
                    None
                }
            },
            _ => {
                let problem = problems.error(&place, format!("`{key}` must name one field"));
                problem.hint(hint());
                None
            }
        },
        other => {
            wrong_type(&place, &format!("`{key}`"), "a text or a table", other.described(), problems).hint(hint());
            None
        }
    }
}

pub(super) fn mapping_schema() -> Json {
    let field = |word: &&str| {
        json!({
            "type": "object",
            "properties": { *word: { "type": "string", "description": "the field of an instance to read it from" } },
            "required": [*word],
            "additionalProperties": false,
        })
    };
    let mut forms = vec![json!({ "type": "string" }), json!({ "type": "integer" })];
    forms.extend(FIELD_WORDS.iter().map(field));
    json!({ "anyOf": forms })
}

/// Most zones (judgment: a cluster has three, a cloud about a hundred).
const MAX_ZONES: usize = 1000;

/// `{ eu-west-1a = "eu-west" }`.
pub(super) fn zone_regions(key: &At<String>, node: Node, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let hint = "write `zones = { eu-west-1a = \"eu-west\" }`";
    let Kind::Table(entries) = node.kind else {
        wrong_type(&node.place, &format!("`{}`", key.value), "a table", node.kind.described(), problems).hint(hint);
        return None;
    };
    if entries.len() > MAX_ZONES {
        problems.error(&node.place, format!("`{}` has over {MAX_ZONES} zones", key.value));
        return None;
    }
    let mut regions = BTreeMap::new();
    for Entry { key: zone, value } in entries {
        let Kind::Text(region) = value.kind else {
            wrong_type(&value.place, "the region of a zone", "a string", value.kind.described(), problems).hint(hint);
            continue;
        };
        if let Some(region) = accepted(plain(&region), &value.place, problems) {
            regions.insert(zone.value, region);
        }
    }
    Some(regions)
}

pub(super) fn zone_regions_schema() -> Json {
    json!({ "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": MAX_ZONES })
}
