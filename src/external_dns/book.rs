//! All records, by cluster, name, type and set identifier, and what changes do to them. A cluster is one installation
//! of external-dns: each sees its own records only, so several can give targets for the same name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::external_dns::adjust::{adjusted, domain_name, ownership, shown};
use crate::external_dns::record::{DnsRecord, RecordChanges};
use crate::wire::Name;

/// Most records of all clusters together (judgment: as many names as external-dns is known to handle, with their
/// ownership records).
pub const MAX_RECORDS: usize = 50_000;
/// Most records that a message of an error names (judgment: a screen of text).
const MAX_NAMED: usize = 10;

/// What distinguishes a record within its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// In lower case, without the final dot.
    pub name: String,
    /// The type.
    pub rtype: String,
    /// The set identifier.
    pub set: String,
}

impl RecordKey {
    /// The key of a record, whether it can be stored or not.
    pub fn of(record: &DnsRecord) -> RecordKey {
        let name = domain_name(&record.dns_name).map_or_else(|_| record.dns_name.clone(), |name| shown(&name));
        RecordKey { name, rtype: record.record_type.clone(), set: record.set_identifier.clone() }
    }
}

/// The records of one cluster.
pub type ClusterRecords = BTreeMap<RecordKey, DnsRecord>;

/// All records, by the name of their cluster. The cluster without a name is the one of the path `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordBook {
    clusters: BTreeMap<String, ClusterRecords>,
}

/// The content of the file with the records.
#[derive(Debug, Serialize, Deserialize)]
struct StoredBook {
    /// The version of its form.
    version: u32,
    clusters: BTreeMap<String, Vec<DnsRecord>>,
}

/// The version of the form that this program reads and writes.
const VERSION: u32 = 1;

impl RecordBook {
    /// The records of a cluster.
    pub fn of_cluster(&self, cluster: &str) -> Vec<DnsRecord> {
        self.clusters.get(cluster).into_iter().flat_map(|records| records.values().cloned()).collect()
    }

    /// One record.
    pub fn get(&self, cluster: &str, key: &RecordKey) -> Option<&DnsRecord> {
        self.clusters.get(cluster)?.get(key)
    }

    /// All records with their clusters.
    pub fn all(&self) -> impl Iterator<Item = (&str, &DnsRecord)> {
        self.clusters.iter().flat_map(|(cluster, records)| records.values().map(|record| (cluster.as_str(), record)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clusters.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same with other records of a cluster: all that are steered are replaced by these, and those that state
    /// ownership stay.
    pub fn with_steered(&self, cluster: &str, records: impl IntoIterator<Item = DnsRecord>) -> RecordBook {
        let mut book = self.clone();
        let of_cluster = book.clusters.entry(cluster.to_owned()).or_default();
        of_cluster.retain(|key, _| key.rtype == "TXT");
        of_cluster.extend(records.into_iter().map(|record| (RecordKey::of(&record), record)));
        book
    }

    /// The same after these changes of a cluster, all of them or none. Deletions come first, so that a record may be
    /// deleted and created in one message. To delete what is not there is no error, because a message may be repeated.
    pub fn changed(&self, cluster: &str, changes: &RecordChanges, zones: &[Name]) -> Result<RecordBook, String> {
        let mut book = self.clone();
        let records = book.clusters.entry(cluster.to_owned()).or_default();
        for gone in changes.delete.iter().chain(&changes.update_old) {
            records.remove(&RecordKey::of(gone));
        }
        let mut refused = Vec::new();
        for new in changes.update_new.iter().chain(&changes.create) {
            let stored = if new.record_type == "TXT" { ownership(new) } else { adjusted(new, zones) };
            match stored {
                Ok(record) => drop(records.insert(RecordKey::of(&record), record)),
                Err(why) => refused.push(format!("{}: {why}", new.shown())),
            }
        }
        if records.is_empty() {
            book.clusters.remove(cluster);
        }
        match book.len() {
            count if count > MAX_RECORDS => {
                Err(format!("there would be {count} records, and at most {MAX_RECORDS} are possible"))
            }
            _ if refused.is_empty() => Ok(book),
            _ => Err(listed(&refused)),
        }
    }

    /// As the file has it.
    pub fn to_json(&self) -> String {
        let clusters = self.clusters.iter();
        let clusters = clusters.map(|(cluster, records)| (cluster.clone(), records.values().cloned().collect()));
        let stored = StoredBook { version: VERSION, clusters: clusters.collect() };
        // Plain data can't fail to serialise.
        serde_json::to_string_pretty(&stored).unwrap_or_default() + "\n"
    }

    /// From the content of the file; an error says what is wrong with it.
    pub fn from_json(text: &[u8]) -> Result<RecordBook, String> {
        let StoredBook { version, clusters } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("this is version {version} of the file, and this program knows {VERSION}"));
        }
        let keyed = |records: Vec<DnsRecord>| records.into_iter().map(|of| (RecordKey::of(&of), of)).collect();
        Ok(RecordBook { clusters: clusters.into_iter().map(|(cluster, of)| (cluster, keyed(of))).collect() })
    }
}

/// Several reasons as one text.
pub fn listed(reasons: &[String]) -> String {
    let named: Vec<&str> = reasons.iter().take(MAX_NAMED).map(String::as_str).collect();
    match reasons.len().saturating_sub(named.len()) {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}
