//! Which servers have taken which overrides: each server publishes up to which revision of the bucket it serves all
//! changes, whenever that rises, and every few seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::fleet::overrides::millis;
use crate::model::MAX_NODE_NAME;
use crate::printable::is_unprintable;

/// How often a server publishes it when nothing changes (judgment: the same as the other signs of life of a fleet).
pub const TAKEN_EVERY: Duration = Duration::from_secs(2);
/// A server that was silent for longer may serve anything: five messages are missing.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// A server that was silent for longer has left the fleet, as a vantage has.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Most servers that are remembered (judgment: far more than a fleet has).
const MAX_SERVERS: usize = 256;
/// Largest message, in octets: it has fixed fields, and room for those of a later release.
const MAX_MESSAGE: usize = 1024;
/// The version of the messages.
const VERSION: u32 = 1;

/// What a server has taken, as a message: JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenMessage {
    v: u32,
    /// Which bucket the revision is of: the first 64 bits of SHA-256 of its time of creation.
    bucket: String,
    /// All changes up to this revision are served.
    revision: u64,
    /// How many changes of this server the bucket does not have yet.
    pending: usize,
}

impl TakenMessage {
    /// Of a server that serves the bucket which was made at `bucket` up to `revision`.
    pub fn new(bucket: Option<&str>, revision: u64, pending: usize) -> TakenMessage {
        let hash = digest(&SHA256, bucket.unwrap_or_default().as_bytes());
        TakenMessage { v: VERSION, bucket: data_encoding::HEXLOWER.encode(&hash.as_ref()[..8]), revision, pending }
    }

    /// The octets.
    pub fn encode(&self) -> Vec<u8> {
        // Strings and numbers always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a message; `None`: it is not of this version, or no message at all.
    pub fn decode(octets: &[u8]) -> Option<TakenMessage> {
        if octets.len() > MAX_MESSAGE {
            return None;
        }
        let message: TakenMessage = serde_json::from_slice(octets).ok()?;
        (message.v == VERSION && message.bucket.len() == 16).then_some(message)
    }
}

/// How another server is with the overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenState {
    /// It serves all changes that this server knows.
    Current,
    /// It does not yet.
    Behind,
    /// It does not report any more, so nobody knows.
    Silent,
}

/// What the other servers have taken.
#[derive(Debug, Default)]
pub struct TakenBook {
    servers: BTreeMap<String, (TakenMessage, i64)>,
}

impl TakenBook {
    /// Takes a message of a server. `false`: it was not used, because there are too many servers or its name is none.
    pub fn note(&mut self, server: &str, message: TakenMessage, now: i64) -> bool {
        self.servers.retain(|_, (_, at)| now.saturating_sub(*at) <= millis(FORGET_AFTER));
        let is_name = !server.is_empty() && server.len() <= MAX_NODE_NAME && !server.chars().any(is_unprintable);
        if !is_name || (self.servers.len() >= MAX_SERVERS && !self.servers.contains_key(server)) {
            return false;
        }
        self.servers.insert(server.to_owned(), (message, now));
        true
    }

    /// Each server, with its state compared with `own`, how many changes of it are pending, and its age in
    /// milliseconds. Sorted by name.
    pub fn servers(&self, own: &TakenMessage, now: i64) -> Vec<(&str, TakenState, usize, i64)> {
        let present = self.servers.iter().filter(|(_, (_, at))| now.saturating_sub(*at) <= millis(FORGET_AFTER));
        present
            .map(|(name, (message, at))| {
                let has_taken = message.bucket == own.bucket && message.revision >= own.revision;
                let age = now.saturating_sub(*at);
                let state = match (age > millis(SILENT_AFTER), has_taken) {
                    (true, _) => TakenState::Silent,
                    (false, true) => TakenState::Current,
                    (false, false) => TakenState::Behind,
                };
                (name.as_str(), state, message.pending, age)
            })
            .collect()
    }

    /// The servers that serve a revision, and those that do not or are silent.
    pub fn of_revision(&self, own: &TakenMessage, revision: u64, now: i64) -> (Vec<&str>, Vec<&str>) {
        let at = TakenMessage { revision, ..own.clone() };
        let rows = self.servers(&at, now);
        let (taken, behind): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, state, ..)| *state == TakenState::Current);
        let names = |rows: Vec<(_, _, _, _)>| rows.into_iter().map(|(name, ..)| name).collect();
        (names(taken), names(behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: i64 = 1000;

    #[test]
    fn a_server_is_current_behind_or_silent_and_is_forgotten() {
        let mut book = TakenBook::default();
        let of = |bucket: &str, revision| TakenMessage::new(Some(bucket), revision, 0);
        for (name, message) in [("ns2", of("a", 7)), ("ns3", of("a", 6)), ("ns4", of("b", 9))] {
            assert!(book.note(name, TakenMessage::decode(&message.encode()).unwrap(), 0));
        }
        let states = |now| book.servers(&of("a", 7), now).into_iter().map(|row| row.1).collect::<Vec<_>>();
        assert_eq!(states(SEC), [TakenState::Current, TakenState::Behind, TakenState::Behind]);
        assert_eq!(states(11 * SEC), [TakenState::Silent; 3]);
        assert_eq!(states(3601 * SEC), []);
        assert_eq!(book.of_revision(&of("a", 7), 6, SEC), (vec!["ns2", "ns3"], vec!["ns4"]));
        assert_eq!(book.of_revision(&of("a", 7), 7, SEC), (vec!["ns2"], vec!["ns3", "ns4"]));
    }

    #[test]
    fn messages_and_servers_are_bounded() {
        let good = TakenMessage::new(None, 1, 0);
        for wrong in ["", "{", "[]", r#"{"v":2,"bucket":"0123456789abcdef","revision":1,"pending":0}"#] {
            assert_eq!(TakenMessage::decode(wrong.as_bytes()), None, "{wrong}");
        }
        let long = String::from_utf8(good.encode()).unwrap() + &" ".repeat(MAX_MESSAGE);
        assert_eq!(TakenMessage::decode(long.as_bytes()), None);
        let mut book = TakenBook::default();
        assert!(!book.note("", good.clone(), 0) && !book.note("a\u{7}", good.clone(), 0));
        for nth in 0..300 {
            assert_eq!(book.note(&format!("ns{nth}"), good.clone(), 0), nth < MAX_SERVERS);
        }
        assert!(book.note("late", good, 3601 * SEC), "those that have left make room");
    }
}
