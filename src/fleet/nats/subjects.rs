//! The names on the wire: subjects and buckets of one fleet. Pure.
//!
//! | subject | who publishes | what |
//! |---|---|---|
//! | `portolan.CLUSTER.report.REGION.NODE` | this vantage | its observations |
//! | `portolan.CLUSTER.ask.NODE` | servers | send a whole report |
//! | `portolan.CLUSTER.beat` | servers | a heartbeat that one server received |
//! | `portolan.CLUSTER.taken.NODE` | this server | which overrides it serves |
//! | `portolan.CLUSTER.event.NODE` | this server | its numbered events; the stream `portolan_CLUSTER_events` has them |
//! | `$KV.portolan_CLUSTER_targets.>` and so on | servers | the keys of a bucket |
//!
//! Regions and nodes are written as tokens: letters, digits, `-` and `_` as they are, every other octet as `=XX` in
//! hexadecimal, because a dot or a `*` would change the subject. Permissions of NATS users are written with these
//! tokens, so a receiver takes the region and the node of a report from its subject and never from its content.

use crate::fleet::Vantage;
use crate::model::MAX_NODE_NAME;

/// Longest token that is read: three octets for each one of the longest name of a node.
const MAX_TOKEN: usize = 3 * MAX_NODE_NAME;

/// The names of one fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    cluster: String,
}

impl Subjects {
    /// The names of the fleet `cluster`, which has letters, digits, `-` and `_` only.
    pub fn of(cluster: &str) -> Subjects {
        Subjects { cluster: cluster.to_owned() }
    }

    /// Where a vantage publishes its reports.
    pub fn report(&self, vantage: &Vantage) -> String {
        format!("portolan.{}.report.{}.{}", self.cluster, token(&vantage.region), token(&vantage.name))
    }

    /// The reports of all vantages, for a subscription.
    pub fn reports(&self) -> String {
        format!("portolan.{}.report.*.*", self.cluster)
    }

    /// Who published on this subject; `None` if it is not one of reports.
    pub fn sender(&self, subject: &str) -> Option<Vantage> {
        let (region, node) = self.rest(subject, "report")?.split_once('.')?;
        Some(Vantage { name: name_of(node)?.into(), region: name_of(region)?.into() })
    }

    /// Where a node is asked for a whole report.
    pub fn ask(&self, node: &str) -> String {
        format!("portolan.{}.ask.{}", self.cluster, token(node))
    }

    /// Where servers publish the heartbeats that they received.
    pub fn beat(&self) -> String {
        format!("portolan.{}.beat", self.cluster)
    }

    /// Where a server publishes its events.
    pub fn event(&self, node: &str) -> String {
        format!("portolan.{}.event.{}", self.cluster, token(node))
    }

    /// The events of all servers, for a subscription and for the stream.
    pub fn events(&self) -> String {
        format!("portolan.{}.event.*", self.cluster)
    }

    /// The server whose events are published on this subject; `None` if it is not one of events.
    pub fn event_node(&self, subject: &str) -> Option<String> {
        name_of(self.rest(subject, "event")?)
    }

    /// The name of the stream of events: `portolan_CLUSTER_events`.
    pub fn event_stream(&self) -> String {
        format!("portolan_{}_events", self.cluster)
    }

    /// Where a server publishes which overrides it serves.
    pub fn taken(&self, node: &str) -> String {
        format!("portolan.{}.taken.{}", self.cluster, token(node))
    }

    /// The same of all servers, for a subscription.
    pub fn all_taken(&self) -> String {
        format!("portolan.{}.taken.*", self.cluster)
    }

    /// The server of such a subject; `None` if it is another subject.
    pub fn taken_by(&self, subject: &str) -> Option<String> {
        name_of(self.rest(subject, "taken")?)
    }

    /// The name of a bucket: `portolan_CLUSTER_targets`.
    pub fn bucket(&self, kind: &str) -> String {
        format!("portolan_{}_{kind}", self.cluster)
    }

    /// What follows `portolan.CLUSTER.KIND.` in a subject; `None` if it is another one.
    fn rest<'s>(&self, subject: &'s str, kind: &str) -> Option<&'s str> {
        let rest = subject.strip_prefix("portolan.")?.strip_prefix(self.cluster.as_str())?;
        rest.strip_prefix('.')?.strip_prefix(kind)?.strip_prefix('.')
    }

    /// The beginning of the subjects on which replies to a node arrive. It is its own, so that permissions can keep
    /// other nodes from reading them.
    pub fn inbox(&self, node: &str) -> String {
        format!("_INBOX.portolan.{}.{}", self.cluster, token(node))
    }
}

/// The beginning of the subjects on which replies to a node arrive that connects for itself, and not in a fleet.
pub fn own_inbox(node: &str) -> String {
    format!("_INBOX.portolan-{}", token(node))
}

/// A name as one token of a subject, and as a part of a key. See the comment of this module.
pub fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => token.push(char::from(byte)),
            other => token.push_str(&format!("={other:02X}")),
        }
    }
    token
}

/// The name of a token; `None` if [`token`] never makes this one.
pub fn name_of(written: &str) -> Option<String> {
    if written.is_empty() || written.len() > MAX_TOKEN {
        return None;
    }
    let mut octets = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'=' {
            octets.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after.get(2..)?;
    }
    let name = String::from_utf8(octets).ok()?;
    // Each name has one token, so that no name can be written in two ways.
    (token(&name) == written).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_have_the_vantage_and_nothing_else_can_be_in_it() {
        let subjects = Subjects::of("prod");
        let vantage = |region: &str, name: &str| Vantage { name: name.into(), region: region.into() };
        let subject = subjects.report(&vantage("eu.west", "ns1.example"));
        assert_eq!(subject, "portolan.prod.report.eu=2Ewest.ns1=2Eexample");
        assert_eq!(subjects.sender(&subject), Some(vantage("eu.west", "ns1.example")));
        for wrong in [
            "portolan.prod.report.eu",
            "portolan.prod.report.eu.ns1.more",
            "portolan.prod.report..ns1",
            "portolan.prod.report.eu.",
            "portolan.production.report.eu.ns1",
            "portolan.test.report.eu.ns1",
            "portolan.prod.report.eu.ns=2",
            "portolan.prod.report.eu.ns=+2",
            "portolan.prod.report.eu.ns=2e",
            "portolan.prod.report.eu.ns=61",
            "portolan.prod.report.eu.ns=FF",
            "portolan.prod.beat",
            "",
        ] {
            assert_eq!(subjects.sender(wrong), None, "{wrong}");
        }
        assert_eq!(subjects.sender(&format!("portolan.prod.report.eu.{}", "a".repeat(MAX_TOKEN + 1))), None);
        assert_eq!(subjects.taken_by(&subjects.taken("ns1.example")), Some("ns1.example".into()));
        assert_eq!((subjects.taken_by("portolan.prod.taken.a.b"), subjects.taken_by(&subject)), (None, None));
    }

    #[test]
    fn the_subject_of_events_has_the_server() {
        let subjects = Subjects::of("prod");
        assert_eq!(subjects.event("ns1.example"), "portolan.prod.event.ns1=2Eexample");
        assert_eq!(subjects.event_node("portolan.prod.event.ns1=2Eexample").as_deref(), Some("ns1.example"));
        for wrong in ["prod.event.", "prod.event.a.b", "test.event.a", "prod.beat"] {
            assert_eq!(subjects.event_node(&format!("portolan.{wrong}")), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_one_token_without_forbidden_characters(name in ".{1,40}", other in ".{0,8}") {
            let written = token(&name);
            prop_assert!(written.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)), "{written}");
            prop_assert_eq!(name_of(&written), Some(name.clone()));
            prop_assert!(token(&other) != written || other == name);
        }

        #[test]
        fn any_text_is_refused_or_is_the_token_of_its_name(text in "[a-z=.0-9A-F*> ]{0,12}") {
            if let Some(name) = name_of(&text) {
                prop_assert_eq!(token(&name), text);
            }
        }
    }
}
