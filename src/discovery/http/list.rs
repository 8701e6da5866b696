//! A group of targets in the form of Prometheus's `http_sd`: `{"targets": ["192.0.2.1:80"], "labels": {...}}`. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::discovery::instance::port_of;
use crate::discovery::{Instance, InstanceList};
use crate::model::Mappings;

/// Most labels of a group that are read (judgment: Prometheus's own targets have some ten).
const MAX_LABELS: usize = 256;

#[derive(Deserialize)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: HashMap<String, String>,
}

/// Adds the targets of a group to the list; an error says what is wrong with the text.
pub(super) fn add_group(list: &mut InstanceList, mappings: &Mappings, text: &[u8]) -> Result<(), String> {
    let Group { targets, labels } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if labels.len() > MAX_LABELS {
        return Err(format!("a group has {} labels, more than {MAX_LABELS}", labels.len()));
    }
    for target in targets {
        let (address, port) = match address_and_port(&target) {
            Ok(parts) => parts,
            Err(why) => {
                list.refusals.add(&target, &why);
                continue;
            }
        };
        let instance = Instance::new(&target, [address], port).mapped(mappings, |label| labels.get(label).cloned());
        list.push(match labels.get("name") {
            Some(name) => instance.named(name),
            None => instance,
        });
    }
    Ok(())
}

/// The parts of `ADDRESS[:PORT]`; an error says what is wrong with the port.
fn address_and_port(target: &str) -> Result<(String, Option<u16>), String> {
    if let Ok(address) = target.parse::<IpAddr>() {
        return Ok((address.to_string(), None));
    }
    // Whether it may be the name of a host is decided later.
    let Some((host, port)) = target.rsplit_once(':') else { return Ok((target.to_owned(), None)) };
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let within = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match (target.parse::<SocketAddr>(), within) {
        (Ok(socket), _) => Ok((socket.ip().to_string(), Some(port_of(port)?))),
        (Err(_), Some(v6)) if is_address(v6) => Ok((v6.to_owned(), Some(port_of(port)?))),
        (Err(_), None) => Ok((host.to_owned(), Some(port_of(port)?))),
        (Err(_), Some(_)) => Ok((host.to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mapping;

    fn read(text: &str, mappings: &Mappings) -> Result<Vec<Instance>, String> {
        let mut list = InstanceList::new(10);
        add_group(&mut list, mappings, text.as_bytes()).map(|()| list.into_instances())
    }

    #[test]
    fn targets_have_the_labels_of_their_group() {
        let mappings = Mappings { region: Mapping::Field("__meta_zone".to_owned()), ..Mappings::default() };
        let text = r#"{"targets":["192.0.2.1:80","[2001:db8::1]:81","192.0.2.2","db.internal:5432"],
            "labels":{"__meta_zone":"eu","weight":"7"}}"#;
        let found = read(text, &mappings).unwrap();
        let rows: Vec<(&str, &str, Option<u16>)> =
            found.iter().map(|of| (&*of.key, &*of.addresses[0], of.port)).collect();
        assert_eq!(
            rows,
            [
                ("192.0.2.1:80", "192.0.2.1", Some(80)),
                ("[2001:db8::1]:81", "2001:db8::1", Some(81)),
                ("192.0.2.2", "192.0.2.2", None),
                ("db.internal:5432", "db.internal", Some(5432)),
            ]
        );
        assert!(found.iter().all(|of| of.region.as_deref() == Some("eu") && of.weight.as_deref() == Some("7")));
    }

    #[test]
    fn a_port_that_is_none_is_refused_with_the_reason() {
        for port in ["0", "65536", "-1", "+80", "", "80 ", "x"] {
            for host in ["192.0.2.1", "[2001:db8::1]", "lb.example.com"] {
                let mut list = InstanceList::new(10);
                let text = format!(r#"{{"targets":["{host}:{port}","192.0.2.2:80"]}}"#);
                add_group(&mut list, &Mappings::default(), text.as_bytes()).unwrap();
                let why = list.refusals.shown().unwrap();
                assert!(why.contains(&format!("port `{port}` is none")), "{why}");
                assert_eq!(list.into_instances().len(), 1, "{host}:{port}");
            }
        }
    }

    #[test]
    fn another_form_is_an_error() {
        for text in
            ["{}", r#"{"targets":"192.0.2.1"}"#, r#"{"targets":[1]}"#, r#"{"targets":[],"labels":{"a":1}}"#, "{"]
        {
            assert!(read(text, &Mappings::default()).is_err(), "{text}");
        }
    }
}
