//! A writer of MMDB files for tests (MaxMind DB format 2.0): a tree of 32-bit records over a data section that has each
//! record once.

use std::collections::HashMap;

use ipnet::IpNet;

/// A value of the data section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Double(f64),
    Number(u32),
    Map(Vec<(&'static str, Value)>),
}

/// A map of fields.
pub(crate) fn map(fields: &[(&'static str, Value)]) -> Value {
    Value::Map(fields.to_vec())
}

/// A text.
pub(crate) fn text(of: &str) -> Value {
    Value::Text(of.to_string())
}

/// A net.
pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The facts of one place, as flat fields.
pub(crate) fn flat(country: &str, latitude: f64, longitude: f64) -> Value {
    map(&[
        ("country_code", text(country)),
        ("city", text("somewhere in a place with a name that is longer than 28 octets")),
        ("latitude", Value::Double(latitude)),
        ("longitude", Value::Double(longitude)),
    ])
}

/// The facts of one country, in MaxMind's fields.
pub(crate) fn nested(country: &str, continent: &str) -> Value {
    let names = map(&[("en", text("a name"))]);
    map(&[
        ("continent", map(&[("code", text(continent)), ("names", names.clone())])),
        ("country", map(&[("names", names), ("iso_code", text(country))])),
    ])
}

impl Value {
    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Value::Text(text) => {
                control(2, text.len(), into);
                into.extend(text.as_bytes());
            }
            Value::Double(number) => {
                control(3, 8, into);
                into.extend(number.to_be_bytes());
            }
            Value::Number(number) => {
                control(6, 4, into);
                into.extend(number.to_be_bytes());
            }
            Value::Map(fields) => {
                control(7, fields.len(), into);
                for (key, value) in fields {
                    text(key).encode(into);
                    value.encode(into);
                }
            }
        }
    }
}

/// The octet before a value, and a second one for those longer than 28.
fn control(kind: u8, size: usize, into: &mut Vec<u8>) {
    match size {
        0..=28 => into.push(kind << 5 | size as u8),
        _ => into.extend([kind << 5 | 29, (size - 29) as u8]),
    }
}

/// A number of the metadata, which has types of its own for them.
fn number(kind: u8, number: u16, into: &mut Vec<u8>) {
    match kind {
        5 | 6 => control(kind, 2, into),
        _ => into.extend([2, kind - 7]),
    }
    into.extend(number.to_be_bytes());
}

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Data(usize),
}

/// The file that says these things of these nets, which don't overlap. `version` 4 has IPv4 nets only.
pub(crate) fn file(version: u8, nets: &[(IpNet, Value)]) -> Vec<u8> {
    let (mut nodes, mut data, mut known) = (vec![[Child::Nothing; 2]], Vec::<u8>::new(), HashMap::new());
    for (net, value) in nets {
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        let offset = *known.entry(encoded.clone()).or_insert_with(|| {
            data.extend(&encoded);
            data.len() - encoded.len()
        });
        let (address, len) = match (net, version) {
            (IpNet::V4(net), 4) => (u128::from(net.network().to_bits()) << 96, net.prefix_len()),
            (IpNet::V4(net), _) => (u128::from(net.network().to_bits()), net.prefix_len() + 96),
            (IpNet::V6(net), _) => (net.network().to_bits(), net.prefix_len()),
        };
        let mut at = 0;
        for bit in 0..len {
            let side = (address >> (127 - bit) & 1) as usize;
            if bit + 1 == len {
                nodes[at][side] = Child::Data(offset);
            } else if let Child::Node(next) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([Child::Nothing; 2]);
                nodes[at][side] = Child::Node(nodes.len() - 1);
                at = nodes.len() - 1;
            }
        }
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for child in nodes.iter().flatten() {
        let record = match *child {
            Child::Nothing => count,
            Child::Node(node) => node,
            Child::Data(offset) => count + 16 + offset,
        };
        file.extend((record as u32).to_be_bytes());
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    metadata(version, count as u32, &mut file);
    file
}

fn metadata(version: u8, count: u32, file: &mut Vec<u8>) {
    let key = |key: &str, file: &mut Vec<u8>| text(key).encode(file);
    control(7, 9, file);
    for (name, kind, value) in [
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
        ("ip_version", 5, u16::from(version)),
        ("record_size", 5, 32),
        ("build_epoch", 9, 1),
    ] {
        key(name, file);
        number(kind, value, file);
    }
    key("node_count", file);
    Value::Number(count).encode(file);
    key("database_type", file);
    text("Test").encode(file);
    key("description", file);
    map(&[]).encode(file);
    key("languages", file);
    // An array of nothing: an extended type.
    file.extend([0, 11 - 7]);
}
