//! A group of targets in the form of Prometheus's `http_sd`: `{"targets": ["192.0.2.1:80"], "labels": {...}}`. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

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
        let (address, port) = match (target.parse::<SocketAddr>(), target.parse::<IpAddr>()) {
            (Ok(socket), _) => (socket.ip().to_string(), Some(socket.port())),
            (Err(_), Ok(address)) => (address.to_string(), None),
            // The name of a host, which is refused with its text.
            (Err(_), Err(_)) => (target.rsplit_once(':').map_or(&*target, |(host, _)| host).to_owned(), None),
        };
        let instance = Instance::new(&target, [address], port).mapped(mappings, |label| labels.get(label).cloned());
        list.push(match labels.get("name") {
            Some(name) => instance.named(name),
            None => instance,
        });
    }
    Ok(())
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
                ("db.internal:5432", "db.internal", None),
            ]
        );
        assert!(found.iter().all(|of| of.region.as_deref() == Some("eu") && of.weight.as_deref() == Some("7")));
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
