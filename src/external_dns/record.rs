//! The JSON of external-dns's webhook protocol, version 1. Go writes an empty list as `null` or leaves it out, and
//! older versions write the keys of changes with an upper-case letter.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The media type of all bodies.
pub const MEDIA_TYPE: &str = "application/external.dns.webhook+json;version=1";

/// Most targets of a record (judgment: external-dns lists the addresses of nodes or load balancers).
pub const MAX_TARGETS: usize = 256;
/// Most labels, and most properties, of a record (judgment: external-dns sets about five labels).
pub const MAX_PAIRS: usize = 64;
/// Longest text of a record in octets: an ownership record has some hundred, and a TXT record 255 in each string.
pub const MAX_TEXT: usize = 4096;

/// A record, called Endpoint there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsRecord {
    /// The domain name.
    #[serde(deserialize_with = "or_default")]
    pub dns_name: String,
    /// Addresses, domain names or texts.
    #[serde(deserialize_with = "or_default")]
    pub targets: Vec<String>,
    /// `A`, `AAAA`, `CNAME`, `TXT` or another type.
    #[serde(deserialize_with = "or_default")]
    pub record_type: String,
    /// Distinguishes records of one name and type.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub set_identifier: String,
    /// The TTL in seconds; 0: none is wanted.
    #[serde(rename = "recordTTL", deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub record_ttl: i64,
    /// What external-dns knows of the record, such as its owner.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the annotations say for a provider.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub provider_specific: Vec<RecordProperty>,
}

/// One property for a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordProperty {
    /// Its name: `webhook/portolan-weight`.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its value.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
}

/// What `POST /records` sends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordChanges {
    /// New records.
    #[serde(alias = "Create", deserialize_with = "or_default")]
    pub create: Vec<DnsRecord>,
    /// Records as they are before an update.
    #[serde(alias = "UpdateOld", deserialize_with = "or_default")]
    pub update_old: Vec<DnsRecord>,
    /// The same records as they are after it.
    #[serde(alias = "UpdateNew", deserialize_with = "or_default")]
    pub update_new: Vec<DnsRecord>,
    /// Records that are not wanted any more.
    #[serde(alias = "Delete", deserialize_with = "or_default")]
    pub delete: Vec<DnsRecord>,
}

impl DnsRecord {
    /// The record for messages: `www.svc.example A`, and its set identifier.
    pub fn shown(&self) -> String {
        let set = match self.set_identifier.as_str() {
            "" => String::new(),
            set => format!(" ({set})"),
        };
        shortened(&format!("{} {}{set}", self.dns_name, self.record_type))
    }

    /// An error if it has more than a record may have; the bounds are the same for all types.
    pub fn check_bounds(&self) -> Result<(), String> {
        let DnsRecord { dns_name, targets, record_type, set_identifier, record_ttl: _, labels, provider_specific } =
            self;
        if targets.len() > MAX_TARGETS {
            return Err(format!("it has {} targets, and at most {MAX_TARGETS} are possible", targets.len()));
        }
        let pairs = labels.len().max(provider_specific.len());
        if pairs > MAX_PAIRS {
            return Err(format!("it has {pairs} labels or properties, and at most {MAX_PAIRS} are possible"));
        }
        let texts = [dns_name, record_type, set_identifier].into_iter().chain(targets);
        let pairs = labels.iter().flat_map(|(key, value)| [key, value]);
        let properties = provider_specific.iter().flat_map(|property| [&property.name, &property.value]);
        match texts.chain(pairs).chain(properties).any(|text| text.len() > MAX_TEXT) {
            true => Err(format!("it has a text of more than {MAX_TEXT} octets")),
            false => Ok(()),
        }
    }
}

/// The beginning of a text for a message.
pub fn shortened(text: &str) -> String {
    /// Judgment: a name of 255 octets and more fits.
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `null` is the default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
