//! `[monitor.*]`: what is probed, how often, and what counts as success.

use std::time::Duration;

use crate::config::fields::{Fields, integer};
use crate::config::problem::{Problems, did_you_mean, listed};
use crate::config::regions::check_name;
use crate::config::source::At;
use crate::config::spec::composite::{self, CompositeKeys};
use crate::config::spec::heartbeat::{self, HeartbeatKeys};
use crate::config::spec::own_keys;
use crate::config::spec::questions::{self, ExpectedReply};
use crate::config::spec::quorum;
use crate::model::composite::Rule;
use crate::model::timing::{DEFAULT_TIMEOUT, adaptive_ceiling};
use crate::model::{CertificateRule, DnsSpec, ExecSpec, GrpcSpec, HttpSpec, Quorum, TlsSpec};

/// One declared check.
#[derive(Debug)]
pub(in crate::config) struct MonitorSpec {
    /// Its name.
    pub(in crate::config) name: At<String>,
    /// Its protocol; `None` where that couldn't be read, which has been told.
    pub(in crate::config) kind: Option<KindSpec>,
    /// Its port, where it has one of its own.
    pub(in crate::config) port: Option<u16>,
    /// From one probe's start to the next.
    pub(in crate::config) interval: Duration,
    /// A probe that takes longer has failed.
    pub(in crate::config) timeout: Duration,
    /// Whether it is less, once round-trip times are known.
    pub(in crate::config) adaptive: bool,
    /// Failures that make it Down.
    pub(in crate::config) fall: u32,
    /// Successes that make it Up.
    pub(in crate::config) rise: u32,
    /// Least time in a state.
    pub(in crate::config) hold_down: Duration,
    /// Whether one that flaps is held down.
    pub(in crate::config) damping: bool,
    /// Whether an idle connection is kept open.
    pub(in crate::config) hold: bool,
    /// Whose word counts.
    pub(in crate::config) quorum: Quorum,
}

/// The protocol of a monitor.
#[derive(Debug, Clone)]
pub(in crate::config) enum KindSpec {
    /// An ICMP echo.
    Icmp,
    /// A TCP handshake.
    Tcp,
    /// An HTTP GET in the clear.
    Http(HttpSpec),
    /// An HTTP GET over TLS.
    Https(HttpSpec, CertificateRule),
    /// A TLS handshake.
    Tls(TlsSpec),
    /// A program; whom it judges is told to it later.
    Exec(ExecSpec),
    /// A DNS question.
    Dns(DnsSpec),
    /// The health check of gRPC.
    Grpc(GrpcSpec),
    /// None: the service beats.
    Heartbeat(HeartbeatKeys),
    /// None: others of the file, taken as one.
    Composite(CompositeKeys),
}

impl MonitorSpec {
    /// What it is made of, where it is made of others.
    pub(in crate::config) fn composite(&self) -> Option<&CompositeKeys> {
        if let Some(KindSpec::Composite(keys)) = &self.kind { Some(keys) } else { None }
    }

    /// What it says of beats, where it waits for them.
    pub(in crate::config) fn heartbeat(&self) -> Option<&HeartbeatKeys> {
        if let Some(KindSpec::Heartbeat(keys)) = &self.kind { Some(keys) } else { None }
    }
}

/// Least interval: more often is load, not news (model::Monitor).
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// A day between probes is not monitoring any more (judgment).
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// Longest hold-down: for longer than that `state` and overrides are for people to say (judgment).
const MAX_HOLD_DOWN: Duration = Duration::from_secs(3600);
/// Shortest timeout: below it no answer can come in time (judgment: a LAN's round trip).
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
/// Most runs: model::Monitor's bounds of `fall` and `rise`.
pub(in crate::config) const MAX_RUN: i64 = 100;
/// More request headers than these is a slip (judgment).
pub(in crate::config) const MAX_HEADERS: usize = 32;
/// Statuses that a server can send: three digits (RFC 9110, 15); what is over 599 some vendors use.
pub(in crate::config) const STATUSES: std::ops::RangeInclusive<i64> = 100..=999;
/// Longest text in a request or expectation (judgment: what servers take in a header line).
pub(in crate::config) const MAX_TEXT: usize = 4096;

/// Types of monitors.
pub(in crate::config) const SUPPORTED: [&str; 12] =
    ["icmp", "tcp", "http", "https", "tls", "grpc", "dns", "exec", "heartbeat", "all", "any", "not"];
/// Those that take `hold`: their probes are connections.
const HOLDING: [&str; 4] = ["tcp", "tls", "http", "https"];
/// Those that probe nothing themselves: what they have none of is told with their other keys.
const UNPROBED: [&str; 4] = ["heartbeat", "all", "any", "not"];

/// `[monitor.NAME]`.
pub(super) fn read(name: At<String>, mut fields: Fields, problems: &mut Problems) -> MonitorSpec {
    check_name(&name, "a monitor", problems);
    let what = fields.what.clone();
    if fields.lacks("type") {
        let problem = problems.error(&name.place, format!("{what} has no `type`"));
        problem.hint(format!("write `type = \"http\"`; there is {}", listed(&SUPPORTED)));
    }
    let written = fields.text("type", "\"http\"", problems);
    let kind = written.as_ref().and_then(|written| kind(written, problems));
    let is_composite = written.as_ref().is_some_and(|written| ["all", "any", "not"].contains(&written.value.as_str()));
    let made_of = composite::read(&mut fields, problems);
    let beats = heartbeat::read(&mut fields, problems);
    let port = fields.integer("port", 1..=65_535, problems).map(|port| (port.value as u16, port.place));
    if let Some(kind) = kind {
        own_keys::check(kind, &fields, problems);
    }
    let (http, reply) = http(kind, &mut fields, problems);
    let certificate = own_keys::certificate(kind, &mut fields, problems);
    let exec = own_keys::exec(kind, &name.place, &mut fields, problems);
    let dns = questions::dns(kind, &name.place, reply, &mut fields, problems);
    let grpc = questions::grpc(certificate, http.host.clone(), &mut fields, problems);
    let interval = fields.duration("interval", MIN_INTERVAL..=MAX_INTERVAL, "\"1s\"", problems);
    let adaptive = fields.is_text("timeout", "adaptive");
    let timeout = timeout(&mut fields, problems);
    let fall = fields.integer("fall", 1..=MAX_RUN, problems).map_or(3, |fall| fall.value as u32);
    let rise = fields.integer("rise", 1..=MAX_RUN, problems).map_or(2, |rise| rise.value as u32);
    let hold_down = fields.duration("hold_down", Duration::ZERO..=MAX_HOLD_DOWN, "\"10s\"", problems);
    let damping = fields.boolean("damping", problems).unwrap_or(true);
    let hold = hold(&mut fields, kind, problems);
    let (quorum_at, before) = (fields.place_of("quorum"), problems.errors());
    let quorum = quorum::read(&mut fields, problems);
    if let (Some(place), true) = (quorum_at, !is_composite && problems.errors() == before) {
        let problem = problems.note(&place, "`quorum` has no effect while this node is the only vantage");
        problem.hint("leave it out, or keep it for a fleet of several vantages");
    }
    fields.finish(&[], problems);
    let interval_place = interval.as_ref().map(|at| at.place.clone());
    let interval = interval.map_or(Duration::from_secs(1), |at| at.value);
    if let Some(timeout) = timeout.as_ref().filter(|timeout| timeout.value > interval) {
        let [long, short] = [timeout.value, interval].map(humantime::format_duration);
        let problem =
            problems.warning(&timeout.place, format!("`timeout` ({long}) is longer than `interval` ({short})"));
        if let Some(place) = &interval_place {
            problem.label(place, "`interval`");
        }
        problem.hint("the next probe is then due before this one has ended: shorten `timeout`");
    }
    let kind = kind.and_then(|kind| match kind {
        "icmp" => Some(KindSpec::Icmp),
        "tcp" => Some(KindSpec::Tcp),
        "http" => Some(KindSpec::Http(http)),
        "tls" => Some(KindSpec::Tls(TlsSpec { host: http.host, certificate })),
        "dns" => dns.map(KindSpec::Dns),
        "grpc" => Some(KindSpec::Grpc(grpc)),
        "exec" => exec.map(KindSpec::Exec),
        "heartbeat" => Some(KindSpec::Heartbeat(beats.of_heartbeat(&what, problems))),
        "all" => made_of.of_composite(Rule::All, &what, &name.place, problems),
        "any" => made_of.of_composite(Rule::Any, &what, &name.place, problems),
        "not" => made_of.of_composite(Rule::Not, &what, &name.place, problems),
        _ => Some(KindSpec::Https(http, certificate)),
    });
    if !matches!(kind, Some(KindSpec::Composite(_)) | None) {
        made_of.of_other(&what, problems);
    }
    if !matches!(kind, Some(KindSpec::Heartbeat(_)) | None) {
        beats.of_other(&what, problems);
    }
    if let (Some(KindSpec::Icmp), Some((_, place))) = (&kind, &port) {
        problems.error(place, format!("{what} has `port`, which icmp monitors don't have")).hint("leave it out");
    }
    let timeout = match adaptive {
        true => adaptive_ceiling(interval),
        false => timeout.map_or(DEFAULT_TIMEOUT, |at| at.value),
    };
    let (port, hold_down) = (port.map(|(port, _)| port), hold_down.map_or(Duration::ZERO, |at| at.value));
    beats.shape(MonitorSpec {
        name,
        kind,
        port,
        interval,
        timeout,
        adaptive,
        fall,
        rise,
        hold_down,
        damping,
        hold,
        quorum,
    })
}

fn kind(written: &At<String>, problems: &mut Problems) -> Option<&'static str> {
    let word = written.value.as_str();
    let found = SUPPORTED.into_iter().find(|kind| *kind == word);
    if found.is_none() {
        let problem = problems.error(&written.place, format!("`{word}` is not a type of monitor"));
        problem.hint = did_you_mean(word, SUPPORTED);
    }
    found
}

/// `timeout = "500ms"`; none for `"adaptive"`.
fn timeout(fields: &mut Fields, problems: &mut Problems) -> Option<At<Duration>> {
    if fields.is_text("timeout", "adaptive") {
        fields.text("timeout", "\"500ms\"", problems);
        return None;
    }
    fields.duration("timeout", MIN_TIMEOUT..=MAX_INTERVAL, "\"500ms\"", problems)
}

/// `hold = true`, for those whose probes are connections.
fn hold(fields: &mut Fields, kind: Option<&str>, problems: &mut Problems) -> bool {
    let place = fields.place_of("hold");
    let kind = kind.filter(|kind| !UNPROBED.contains(kind));
    let is_wanted = fields.boolean("hold", problems) == Some(true);
    if let (true, Some(place), Some(kind)) = (is_wanted, place, kind.filter(|kind| !HOLDING.contains(kind))) {
        let problem = problems.error(&place, format!("a monitor of type `{kind}` has no connection to hold"));
        problem.hint(format!("leave `hold` out; {} monitors take it", listed(&HOLDING)));
    }
    is_wanted
}

fn http(kind: Option<&str>, fields: &mut Fields, problems: &mut Problems) -> (HttpSpec, ExpectedReply) {
    let redirects = own_keys::redirects(fields, problems);
    let (path, headers) = ("/".to_owned(), Vec::new());
    let mut spec = HttpSpec { path, host: None, headers, statuses: vec![200], body: None, redirects };
    if let Some(path) = fields.text("path", "\"/healthz\"", problems) {
        let plain = path.value.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.value.starts_with('/') || !plain || path.value.len() > MAX_TEXT {
            let problem = problems.error(&path.place, format!("\"{}\" is not the path of a URL", path.value));
            problem.hint("write `path = \"/healthz\"`: it begins with `/`; escape other characters with `%`");
        }
        spec.path = path.value;
    }
    if let Some(host) = fields.text("host", "\"www.svc.example\"", problems) {
        let plain = host.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b));
        if host.value.is_empty() || !plain || host.value.len() > MAX_TEXT {
            let problem = problems.error(&host.place, format!("\"{}\" is not a host", host.value));
            problem.hint("write `host = \"www.svc.example\"`, without `http://` and without a path");
        }
        spec.host = Some(host.value);
    }
    if let Some(headers) = fields.inline("headers", "{ user-agent = \"portolan\" }", problems) {
        spec.headers = self::headers(headers, problems);
    }
    let mut reply = ExpectedReply::default();
    if let Some(mut expect) = fields.inline("expect", "{ status = [200], body = \"ok\" }", problems) {
        own_keys::check_expected(kind, &expect, problems);
        if let Some(list) = expect.list("status", "[200]", problems) {
            if list.value.is_empty() {
                problems.error(&list.place, "no status would be a success").hint("write `status = [200]`");
            }
            let codes = list.value.into_iter().filter_map(|item| integer(item, "status", STATUSES, problems));
            spec.statuses = codes.map(|code| code.value as u16).collect();
        }
        if let Some(body) = expect.text("body", "\"ok\"", problems) {
            if body.value.is_empty() || body.value.len() > MAX_TEXT {
                let problem = problems.error(&body.place, format!("`body` must be 1 to {MAX_TEXT} octets of text"));
                problem.hint("write a part of what the page says, `body = \"ok\"`, or leave it out for any page");
            }
            spec.body = Some(body.value);
        }
        reply = questions::expected(&mut expect, problems);
        expect.finish(&[], problems);
    }
    (spec, reply)
}

fn headers(mut fields: Fields, problems: &mut Problems) -> Vec<(String, String)> {
    let place = fields.place.clone();
    let mut headers = Vec::new();
    for entry in fields.take_all() {
        let name = entry.key;
        let Some(value) = crate::config::fields::text(entry.value, &name.value, "\"VALUE\"", problems) else {
            continue;
        };
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let key = name.value.to_ascii_lowercase();
        if key == "host" {
            problems
                .error(&name.place, "the Host header has a key of its own")
                .hint("write `host = \"...\"` in the monitor");
        } else if key.is_empty() || !key.bytes().all(token) {
            let problem = problems.error(&name.place, format!("\"{key}\" is not the name of a header"));
            problem.hint("write letters, digits and `-`: `headers = { user-agent = \"portolan\" }`");
        } else if !value.value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || value.value.len() > MAX_TEXT {
            let problem = problems.error(&value.place, format!("the value of `{key}` must be printable ASCII"));
            problem.hint(format!("take out what isn't; at most {MAX_TEXT} characters"));
        } else {
            headers.push((key, value.value));
        }
    }
    if headers.len() > MAX_HEADERS {
        problems.error(&place, format!("more than {MAX_HEADERS} headers"));
    }
    headers.sort();
    headers
}
