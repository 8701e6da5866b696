//! What a driver passes on: the instances that its source lists, as plain texts. [`crate::discovery`] reads the texts,
//! so every source has the same rules and messages.

use serde::{Deserialize, Serialize};

use crate::model::Mappings;
use crate::printable::{cut, escaped};

/// Longest text of an instance, in octets: longer than every valid one (a domain name has 253).
pub const MAX_INSTANCE_TEXT: usize = 256;
/// Most addresses of an instance that are stored: one more than is allowed, so that too many are noticed.
const MAX_ADDRESSES: usize = 3;
/// Most refusals that are named one by one; further ones are counted (judgment: a screen of a status page).
pub const MAX_NAMED_REFUSALS: usize = 5;

/// One instance of a service, as its source lists it. Texts are as the source has them, with escapes for what must not
/// be printed: no driver checks them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// What identifies it within its source, from one update to the next: the service id, the key, the address.
    pub key: String,
    /// Its name, for `{name}`.
    pub name: String,
    /// Addresses of hosts, without ports; or the name of one.
    pub addresses: Vec<String>,
    /// The port.
    pub port: Option<u16>,
    /// Its weight.
    pub weight: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Its country.
    pub country: Option<String>,
    /// Its capacity.
    pub capacity: Option<String>,
    /// The address to probe, where the instance has the name of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// The health by the source.
    pub health: StatedHealth,
    /// The source's reason for a health other than up, for people.
    pub why: Option<String>,
}

/// What a source says about the health of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatedHealth {
    /// Up, or the source has no checks. Consul: passing and warning.
    #[default]
    Up,
    /// Down. Consul: critical.
    Down,
}

impl Instance {
    /// An instance that is up. `key` identifies it, and is its name too. Texts are cut to [`MAX_INSTANCE_TEXT`].
    pub fn new(key: &str, addresses: impl IntoIterator<Item = String>, port: Option<u16>) -> Instance {
        let addresses = addresses.into_iter().take(MAX_ADDRESSES).map(|address| bounded(&address)).collect();
        Instance { key: bounded(key), name: bounded(key), addresses, port, ..Instance::default() }
    }

    /// The same with the values of its fields (meta, labels, JSON). `field` returns the text of a field.
    pub fn mapped(self, mappings: &Mappings, field: impl Fn(&str) -> Option<String>) -> Instance {
        let field = |name: &str| field(name).map(|text| bounded(&text));
        Instance {
            region: mappings.region.value("region", field),
            weight: mappings.weight.value("weight", field),
            country: mappings.country.value("country", field),
            capacity: mappings.capacity.value("capacity", field),
            probe: mappings.probe.value("probe", field),
            ..self
        }
    }

    /// The same with another name than its key.
    pub fn named(self, name: &str) -> Instance {
        Instance { name: bounded(name), ..self }
    }

    /// The same, stated to be down for this reason.
    pub fn down(self, why: &str) -> Instance {
        Instance { health: StatedHealth::Down, why: Some(bounded(why)), ..self }
    }
}

/// The beginning of a text, up to [`MAX_INSTANCE_TEXT`] octets, with escapes for what must not be printed.
pub fn bounded(text: &str) -> String {
    // An escape has more octets than its character, never fewer.
    cut(&escaped(cut(text, MAX_INSTANCE_TEXT)), MAX_INSTANCE_TEXT).to_owned()
}

/// The port of a text: digits only, 1 to 65535; an error says what was found.
pub fn port_of(text: &str) -> Result<u16, String> {
    let port = text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let port = port.filter(|port| *port > 0);
    port.ok_or_else(|| format!("its port `{}` is none; expected 1 to 65535", bounded(text)))
}

/// All instances of a source: as many as are allowed, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceList {
    most: usize,
    instances: Vec<Instance>,
    total: usize,
    /// What the source lists and the driver can't read.
    pub refusals: RefusedInstances,
}

impl InstanceList {
    /// A list of at most `most` instances, `max` of the source. What is pushed after that is only counted.
    pub fn new(most: usize) -> InstanceList {
        InstanceList { most, ..InstanceList::default() }
    }

    /// A list that was not read because it is too long: the source gives only its length.
    pub fn unread(total: u64) -> InstanceList {
        InstanceList { total: usize::try_from(total).unwrap_or(usize::MAX), ..InstanceList::default() }
    }

    /// Adds one.
    pub fn push(&mut self, instance: Instance) {
        self.total = self.total.saturating_add(1);
        if self.instances.len() < self.most {
            self.instances.push(instance);
        }
    }

    /// How many were pushed.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Those that are stored.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The same, by value.
    pub fn into_instances(self) -> Vec<Instance> {
        self.instances
    }
}

/// What of a source can't be used: the first few by name, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RefusedInstances {
    named: Vec<String>,
    total: usize,
}

impl RefusedInstances {
    /// Adds one: what it is, and what to do. `of` names the instance.
    pub fn add(&mut self, of: &str, why: &str) {
        self.total += 1;
        if self.named.len() < MAX_NAMED_REFUSALS {
            self.named.push(format!("`{}`: {}", bounded(of), bounded(why)));
        }
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Adds those of another list.
    pub fn extend(&mut self, other: &RefusedInstances) {
        self.total += other.total;
        self.named.extend(other.named.iter().cloned());
        self.named.truncate(MAX_NAMED_REFUSALS);
    }

    /// All in one line; `None` if there are none.
    pub fn shown(&self) -> Option<String> {
        let more = match self.total - self.named.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        (self.total > 0).then(|| format!("{}{more}", self.named.join("; ")))
    }
}
