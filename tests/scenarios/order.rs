//! The order of keys in a policy has no effect. Only lists have an order.

use std::collections::BTreeMap;

use portolan::control::explain::{Client, explain};

use crate::script::Script;
use crate::world::World;

/// The same policy with the keys of every table in alphabetical order, or in reverse.
pub(crate) fn reordered(policy: &str, is_backwards: bool) -> String {
    let table: toml::Table = policy.parse().expect("a policy is TOML");
    let mut text = String::new();
    write(&table, &mut Vec::new(), is_backwards, &mut text);
    text
}

/// Writes plain keys first, as TOML requires, then the tables.
fn write(table: &toml::Table, path: &mut Vec<String>, is_backwards: bool, text: &mut String) {
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort();
    if is_backwards {
        keys.reverse();
    }
    if !path.is_empty() {
        text.push_str(&format!("[{}]\n", path.join(".")));
    }
    let quoted = |key: &str| format!("\"{key}\"");
    for key in keys.iter().filter(|key| !table[**key].is_table()) {
        text.push_str(&format!("{} = {}\n", quoted(key), table[*key]));
    }
    for key in keys {
        if let toml::Value::Table(inner) = &table[key] {
            path.push(quoted(key));
            write(inner, path, is_backwards, text);
            path.pop();
        }
    }
}

/// The answers of `explain` for clients of every region, by name, type and client.
pub(crate) fn everything(script: &Script) -> BTreeMap<String, String> {
    let mut world = World::new(script);
    let now = world.now();
    let snapshot = world.snapshot();
    let regions: Vec<&str> = snapshot.model.regions.iter().map(|region| region.name.as_str()).collect();
    let clients = regions.iter().map(|region| Client::Region(region)).chain([Client::Unlocated]);
    let mut all = BTreeMap::new();
    for client in clients {
        for zone in &snapshot.model.zones {
            for name in &zone.steered {
                for rtype in ["A", "AAAA", "SRV", "HTTPS"] {
                    let name = name.owner.to_string();
                    let of = explain(&snapshot, &name, Some(rtype), client, now).expect("a steered name");
                    let mut answers: Vec<String> =
                        of.answers.iter().map(|a| format!("{} {:.9}", a.rdata, a.probability)).collect();
                    answers.sort();
                    all.insert(
                        format!("{name} {rtype} {client:?}"),
                        format!("{answers:?} ttl {} scope {}", of.ttl, of.scope),
                    );
                }
            }
        }
    }
    all
}
