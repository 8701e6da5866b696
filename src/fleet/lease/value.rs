//! A lease as the store has it: JSON, versioned. What other servers wrote is read within bounds.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{ActiveEndpoint, MAX_NODE_NAME};
use crate::printable::{cut, is_unprintable};
use crate::wire::Name;

/// The version of the values.
const VERSION: u32 = 1;

/// The longest value that is read. Judgment: names take some hundred octets.
pub const MAX_VALUE_OCTETS: usize = 4096;

/// The highest epoch: whole numbers over 2^53 are not exact in the JSON of many programs.
pub const MAX_EPOCH: u64 = 1 << 53;

/// The longest reason, in octets. Judgment.
const MAX_WHY: usize = 400;

/// Durations that are believed: a shorter one can't be renewed in time, a longer one would block a failover.
pub(super) const SHORTEST: Duration = Duration::from_millis(500);
/// The longest of them (judgment).
const LONGEST: Duration = Duration::from_secs(60);

/// What the store has of an exclusive name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The active endpoint.
    pub active: ActiveEndpoint,
    /// The node that holds it.
    pub holder: Arc<str>,
    /// The random number of the holder's process.
    pub instance: u64,
    /// The number of the holder's write: with `instance`, no two revisions are equal.
    pub serial: u64,
    /// How long it is valid after its revision was received.
    pub duration: Duration,
    /// The promotion that is under way.
    pub promoting: Option<Promoting>,
    /// Why the active endpoint was promoted; empty at first.
    pub why: Arc<str>,
}

/// A promotion that is under way. Its epoch is never used again, whatever becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoting {
    /// The endpoint that may become active.
    pub endpoint: Arc<str>,
    /// The epoch that it gets.
    pub epoch: u64,
}

/// Why a value of the store is not a lease that this version understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLease(pub String);

/// The fields of the JSON. Fields that a later version adds are ignored.
#[derive(Serialize, Deserialize)]
struct LeaseJson {
    v: u32,
    endpoint: String,
    epoch: u64,
    /// Absent in a value that somebody wrote by hand.
    #[serde(default)]
    highest_epoch: u64,
    holder: String,
    #[serde(default)]
    instance: String,
    #[serde(default)]
    serial: u64,
    duration_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promoting: Option<PromotingJson>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
}

#[derive(Serialize, Deserialize)]
struct PromotingJson {
    endpoint: String,
    epoch: u64,
}

impl Lease {
    /// Its JSON.
    pub fn to_json(&self) -> String {
        let json = LeaseJson {
            v: VERSION,
            endpoint: self.active.endpoint.to_string(),
            epoch: self.active.epoch,
            highest_epoch: self.active.highest,
            holder: self.holder.to_string(),
            instance: format!("{:016x}", self.instance),
            serial: self.serial,
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            promoting: self
                .promoting
                .as_ref()
                .map(|Promoting { endpoint, epoch }| PromotingJson { endpoint: endpoint.to_string(), epoch: *epoch }),
            why: cut(&self.why, MAX_WHY).to_owned(),
        };
        // Strings and numbers always have a JSON form.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// Reads a value. An error says what is wrong with it.
    pub fn from_json(value: &[u8]) -> Result<Lease, UnreadableLease> {
        let wrong = |what: &str| UnreadableLease(what.to_owned());
        if value.len() > MAX_VALUE_OCTETS {
            return Err(UnreadableLease(format!("{} octets, over {MAX_VALUE_OCTETS}", value.len())));
        }
        let json: LeaseJson = serde_json::from_slice(value).map_err(|error| UnreadableLease(error.to_string()))?;
        if json.v != VERSION {
            return Err(UnreadableLease(format!("version {}; this server reads version {VERSION}", json.v)));
        }
        let promoting = json.promoting.map(|of| Promoting { endpoint: of.endpoint.into(), epoch: of.epoch });
        let names = [Some(&*json.endpoint), Some(&*json.holder), promoting.as_ref().map(|of| &*of.endpoint)];
        if names.into_iter().flatten().any(|name| !is_name(name)) {
            return Err(wrong("a name is empty, too long, or has spaces or unprintable characters"));
        }
        if json.why.len() > MAX_WHY {
            return Err(wrong("`why` is too long"));
        }
        let burnt = promoting.as_ref().map_or(0, |of| of.epoch);
        let highest = json.highest_epoch.max(json.epoch).max(burnt);
        if json.epoch == 0 || highest > MAX_EPOCH {
            return Err(wrong("an epoch is not from 1 to 2^53"));
        }
        if promoting.as_ref().is_some_and(|of| of.epoch <= json.epoch) {
            return Err(wrong("the epoch of `promoting` is not over `epoch`"));
        }
        Ok(Lease {
            active: ActiveEndpoint { endpoint: json.endpoint.into(), epoch: json.epoch, highest },
            holder: json.holder.into(),
            instance: u64::from_str_radix(&json.instance, 16).unwrap_or(0),
            serial: json.serial,
            duration: Duration::from_millis(json.duration_ms).clamp(SHORTEST, LONGEST),
            promoting,
            why: json.why.into(),
        })
    }
}

/// Whether it can be the name of a node, or of an endpoint, which is no longer. One with a space could look like a
/// second field of the TXT record.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NODE_NAME && !name.chars().any(|c| c.is_whitespace() || is_unprintable(c))
}

/// The key of an exclusive name in the store, unique for each owner: its labels in lower case, from the left, with dots
/// between them and none at the end. Octets that a key must not have are written as `=` and two hexadecimal digits.
pub fn key_of(owner: &Name) -> String {
    let mut key = String::new();
    for label in owner.labels() {
        if !key.is_empty() {
            key.push('.');
        }
        for octet in label.iter().map(u8::to_ascii_lowercase) {
            match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => key.push(char::from(octet)),
                // Writing to a String can't fail.
                _ => _ = write!(key, "={octet:02X}"),
            }
        }
    }
    // The root has no labels.
    if key.is_empty() { "=".to_owned() } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease {
            active: ActiveEndpoint { endpoint: "fra1".into(), epoch: 7, highest: 9 },
            holder: "ns1".into(),
            instance: u64::MAX,
            serial: 41,
            duration: Duration::from_secs(3),
            promoting: Some(Promoting { endpoint: "ams1".into(), epoch: 9 }),
            why: "fra2 was down".into(),
        }
    }

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        let whole = lease();
        assert_eq!(Lease::from_json(whole.to_json().as_bytes()), Ok(whole));
        let plain = Lease { promoting: None, why: "".into(), ..lease() };
        assert_eq!(Lease::from_json(plain.to_json().as_bytes()), Ok(plain));
        let long = Lease { why: "ä".repeat(500).into(), ..lease() };
        let read = Lease::from_json(long.to_json().as_bytes()).expect("cut between characters");
        assert_eq!(read.why.len(), MAX_WHY);
    }

    #[test]
    fn what_is_missing_or_more_does_not_matter_where_it_can_be_known() {
        let by_hand = r#"{"v":1,"endpoint":"a","epoch":3,"holder":"ns1","duration_ms":1,"new":{"x":[1]}}"#;
        let read = Lease::from_json(by_hand.as_bytes()).expect("readable");
        assert_eq!(read.active, ActiveEndpoint { endpoint: "a".into(), epoch: 3, highest: 3 });
        assert_eq!(read.duration, SHORTEST);
        let burnt = by_hand.replace(r#""new":"#, r#""promoting":{"endpoint":"b","epoch":8},"new":"#);
        assert_eq!(Lease::from_json(burnt.as_bytes()).expect("readable").active.highest, 8);
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_a_reason() {
        let base = lease().to_json();
        for (from, to, why) in [
            (r#""v":1"#, r#""v":2"#, "version 2"),
            (r#""epoch":7"#, r#""epoch":0"#, "an epoch"),
            (r#""epoch":7"#, r#""epoch":-1"#, "invalid value"),
            (r#""highest_epoch":9"#, r#""highest_epoch":9007199254740993"#, "an epoch"),
            (r#""epoch":9}"#, r#""epoch":7}"#, "not over"),
            (r#""endpoint":"fra1""#, r#""endpoint":"""#, "empty"),
            (r#""endpoint":"fra1""#, r#""endpoint":"fra1 epoch=9""#, "spaces"),
            (r#""duration_ms":3000"#, r#""duration_ms":"3""#, "invalid type"),
            ("{", "[", "invalid"),
        ] {
            let value = base.replacen(from, to, 1);
            assert_ne!(value, base, "{from}");
            let error = Lease::from_json(value.as_bytes()).expect_err(&value);
            assert!(error.0.contains(why), "{value}: {error:?}");
        }
        let huge = base.replace("fra1", &"x".repeat(MAX_VALUE_OCTETS));
        assert!(Lease::from_json(huge.as_bytes()).is_err());
        let long = base.replace("fra1", &"x".repeat(300));
        assert!(Lease::from_json(long.as_bytes()).is_err());
        assert!(Lease::from_json(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn every_owner_has_a_key_of_its_own_that_a_store_accepts() {
        let owners = ["db.svc.example.", r"d\.b.svc.example.", "*.svc.example.", r"d\046b.svc.example.", "d=2Eb.x."];
        let keys: Vec<String> = owners.iter().map(|owner| key_of(&Name::parse(owner).expect(owner))).collect();
        assert_eq!(keys, ["db.svc.example", "d=2Eb.svc.example", "=2A.svc.example", "d=2Eb.svc.example", "d=3D2eb.x"]);
        assert_eq!(key_of(&Name::parse("DB.Svc.Example.").expect("a name")), keys[0]);
    }
}
