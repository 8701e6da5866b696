//! `[monitor.NAME]`: what is probed, how often, and what counts as success. Each type of monitor is one file, which
//! declares its keys, checks them, and makes what is probed of them. A key that a type doesn't have is an error, never
//! ignored.

mod composite;
mod dns;
mod exec;
mod expect;
mod grpc;
mod heartbeat;
mod http;
mod probing;
mod quorum;
mod tls;

use std::sync::Arc;

use serde_json::Value as Json;

use crate::config::fields::{Fields, Head};
use crate::config::keys::{Key, KeyGroup, Table, check_name, choice, keys, object};
use crate::config::monitor::probing::Probing;
use crate::model::{Digested, ExecSpec, HeartbeatSpec, Monitor, ProbeKind};
use crate::source::{At, ManualSection, Problems, listed};

pub(super) use composite::CompositeSpec;
#[cfg(test)]
pub(super) use heartbeat::HeartbeatKeys;
#[cfg(test)]
pub(super) use quorum::QuorumKeys;

/// Declares the types of monitors: the variant, the word for it, and where it is defined.
macro_rules! types {
    ($( $variant:ident $text:literal = $definition:expr; )*) => {
        /// A type of monitor.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::config) enum MonitorType { $( $variant ),* }

        impl MonitorType {
            /// All of them, each with its word in `type`.
            const ALL: &[(&str, MonitorType)] = &[$( ($text, MonitorType::$variant) ),*];

            fn definition(self) -> &'static Definition {
                match self { $( MonitorType::$variant => &$definition ),* }
            }
        }
    };
}

types! {
    Icmp "icmp" = probing::ICMP;
    Tcp "tcp" = probing::TCP;
    Http "http" = http::HTTP;
    Https "https" = http::HTTPS;
    Tls "tls" = tls::TLS;
    Grpc "grpc" = grpc::GRPC;
    Dns "dns" = dns::DNS;
    Exec "exec" = exec::EXEC;
    Heartbeat "heartbeat" = heartbeat::HEARTBEAT;
    All "all" = composite::ALL;
    Any "any" = composite::ANY;
    Not "not" = composite::NOT;
}

/// A type of monitor, as its file defines it.
struct Definition {
    /// Its keys, without `type`.
    groups: &'static [Group],
    port: PortRule,
    /// Whether a probe is a connection that can be kept open.
    can_hold: bool,
    /// Reads its keys. `None`: a required key is missing or wrong, which is a problem.
    read: fn(&mut Fields, &mut Problems) -> Option<Body>,
    /// The reason and the advice for a key that this type doesn't have. `None`: the message names the types that have
    /// it.
    refuse: fn(&str) -> Option<(String, String)>,
}

impl Definition {
    /// A type that probes a port and has no further rules.
    const fn probe(groups: &'static [Group], read: fn(&mut Fields, &mut Problems) -> Option<Body>) -> Definition {
        Definition { groups, port: PortRule::Required, can_hold: false, read, refuse: |_| None }
    }
}

/// Which port is probed when neither the monitor nor the endpoint has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortRule {
    /// Nothing is sent to a port.
    Without,
    /// There is no usual port.
    Required,
    /// The usual one.
    Usual(u16),
}

impl PortRule {
    /// The usual port.
    pub(super) fn usual(self) -> Option<u16> {
        if let PortRule::Usual(port) = self { Some(port) } else { None }
    }
}

/// Keys that several types can share.
#[derive(Clone, Copy)]
struct Group {
    keys: fn() -> Vec<Key>,
    /// Checks the values and drops them.
    skim: fn(&mut Fields, &mut Problems),
}

impl Group {
    const fn of<G: KeyGroup>() -> Group {
        Group { keys: G::keys, skim: |fields, problems| _ = G::take(fields, problems) }
    }
}

keys! {
    /// The key that all monitors have.
    TypeKey {
        /// `"icmp"` an echo request · `"tcp"` a connection · `"http"` a GET over HTTP/1.1 · `"https"` a GET over
        /// HTTP/2 or 1.1, as the server chooses (ALPN) · `"tls"` a handshake · `"grpc"` the standard health check ·
        /// `"dns"` a query · `"exec"` a program, see below · `"heartbeat"` no probe: the service reports that it is
        /// alive, [see below](#heartbeats) · `"all"`, `"any"`, `"not"` a combination of other monitors of the file,
        /// [see below](#several-monitors-as-one)
        "type" of: MonitorType = choice(MonitorType::ALL, "a type of monitor"), required &type_hint();
    }
}

fn type_hint() -> String {
    format!("write `type = \"http\"`; there is {}", listed(&types_that(|_| true)))
}

/// The types that are like this, as they are written.
fn types_that(is: impl Fn(MonitorType) -> bool) -> Vec<&'static str> {
    MonitorType::ALL.iter().filter(|(_, of)| is(*of)).map(|(text, _)| *text).collect()
}

/// One declared monitor.
#[derive(Debug)]
pub(super) struct MonitorSpec {
    head: Arc<Head>,
    /// What it does; `None` if that couldn't be read, which is a problem.
    pub(super) body: Option<Body>,
    /// Which port is probed.
    pub(super) port_rule: PortRule,
}

/// The two sorts of monitors.
#[derive(Debug)]
pub(super) enum Body {
    /// It probes, or waits for heartbeats; with its own port. [`MonitorSpec::monitor_of`] adds what depends on the
    /// endpoint.
    Probe(Digested<Monitor>, Option<At<u16>>),
    /// It combines others.
    Composite(CompositeSpec),
}

impl std::ops::Deref for MonitorSpec {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

impl MonitorSpec {
    /// What it combines, if it does.
    pub(super) fn composite(&self) -> Option<&CompositeSpec> {
        if let Some(Body::Composite(keys)) = &self.body { Some(keys) } else { None }
    }

    /// What it does itself, if it combines nothing.
    pub(super) fn monitor(&self) -> Option<&Monitor> {
        if let Some(Body::Probe(monitor, _)) = &self.body { Some(monitor) } else { None }
    }

    /// What is expected of the service, if it waits for heartbeats.
    pub(super) fn heartbeat(&self) -> Option<&HeartbeatSpec> {
        self.monitor()?.kind.heartbeat()
    }

    /// Whether its probes need a port, and it has none.
    pub(super) fn lacks_port(&self) -> bool {
        self.port_rule == PortRule::Required && self.port().is_none() && matches!(self.body, Some(Body::Probe(..)))
    }

    /// Its own port.
    pub(super) fn port(&self) -> Option<u16> {
        if let Some(Body::Probe(_, port)) = &self.body { port.as_ref().map(|port| port.value) } else { None }
    }

    /// What it does with an endpoint of a zone. All endpoints share it, or its long texts where the name of the
    /// endpoint is in it.
    pub(super) fn monitor_of(&self, zone: &str, endpoint: &str) -> Option<Digested<Monitor>> {
        let Some(Body::Probe(shared, _)) = &self.body else { return None };
        let kind = match &shared.kind {
            ProbeKind::Exec(exec) => ProbeKind::Exec(ExecSpec { endpoint: endpoint.to_owned(), ..exec.clone() }),
            ProbeKind::Heartbeat(beat) => {
                let (zone, endpoint) = (zone.to_owned(), endpoint.to_owned());
                ProbeKind::Heartbeat(HeartbeatSpec { zone, endpoint, ..beat.clone() })
            }
            ProbeKind::Icmp
            | ProbeKind::Tcp
            | ProbeKind::Http(_)
            | ProbeKind::Https(..)
            | ProbeKind::Tls(_)
            | ProbeKind::Dns(_)
            | ProbeKind::Grpc(_)
            | ProbeKind::Composite(_) => return Some(shared.clone()),
        };
        Some(Monitor { kind, ..Monitor::clone(shared) }.into())
    }
}

impl KeyGroup for MonitorSpec {
    /// The keys of all types. If not all probes have a key, its text begins with the types that have it.
    fn keys() -> Vec<Key> {
        let mut keys: Vec<(Key, Vec<&str>)> = Vec::new();
        for (text, of) in MonitorType::ALL {
            for key in of.keys() {
                match keys.iter_mut().find(|(known, _)| known.is(&key)) {
                    Some((_, types)) => types.push(text),
                    None => keys.push((key, vec![text])),
                }
            }
        }
        let common = Probing::keys();
        let of_types = |(key, types): (Key, Vec<&str>)| match common.iter().any(|common| common.is(&key)) {
            true => key,
            false => key.of(&listed_plainly(&types)),
        };
        TypeKey::keys().into_iter().chain(keys.into_iter().map(of_types)).collect()
    }

    fn take(fields: &mut Fields, problems: &mut Problems) -> MonitorSpec {
        let head = fields.head();
        let Some(At { value: of, .. }) = TypeKey::take(fields, problems).of else {
            fields.is_partial = true;
            let groups = MonitorType::ALL.iter().flat_map(|(_, of)| of.definition().groups);
            groups.for_each(|group| (group.skim)(fields, problems));
            return MonitorSpec { head, body: None, port_rule: PortRule::Required };
        };
        let definition = of.definition();
        let body = (definition.read)(fields, problems);
        refuse(of, fields, problems);
        if let (Some(place), Some(Body::Probe(monitor, _)), false) = (head.place_of("hold"), &body, definition.can_hold)
            && monitor.hold
        {
            let kind = monitor.kind.as_str();
            let problem = problems.error(place, format!("a monitor of type `{kind}` has no connection to hold"));
            let holding = listed(&types_that(|of| of.definition().can_hold));
            problem.hint(format!("leave `hold` out; {holding} monitors take it"));
        }
        MonitorSpec { head, body, port_rule: definition.port }
    }
}

impl Table for MonitorSpec {
    const SECTION: Option<ManualSection> = Some(ManualSection::Monitor);

    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        check_name(&self.name, "a monitor", problems);
        true
    }

    fn schema() -> Json {
        let keys = Self::keys().into_iter().map(|key| if key.name == "type" { key } else { key.optional() });
        object(&keys.collect::<Vec<_>>())
    }
}

/// Errors for the keys that other types have and this one doesn't.
fn refuse(of: MonitorType, fields: &mut Fields, problems: &mut Problems) {
    if fields.is_read() {
        return;
    }
    for key in MonitorType::ALL.iter().flat_map(|(_, other)| other.keys()) {
        let Some((written, _)) = fields.take(key.name) else { continue };
        let place = written.place.clone();
        let (which, hint) = (of.definition().refuse)(key.name).unwrap_or_else(|| {
            let types = types_that(|of| of.keys().iter().any(|known| known.name == key.name));
            let hint = format!("leave it out, or write `type = \"{}\"`", types.first().unwrap_or(&"http"));
            (format!("which only {} monitors have", listed_plainly(&types)), hint)
        });
        let message = format!("{} has `{}`, {which}", fields.head().what(), key.name);
        problems.error(&place, message).hint(hint);
    }
}

impl MonitorType {
    /// Its keys, without `type`.
    fn keys(self) -> Vec<Key> {
        self.definition().groups.iter().flat_map(|group| (group.keys)()).collect()
    }
}

/// `http, https and tls`.
fn listed_plainly(types: &[&str]) -> String {
    match types.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
