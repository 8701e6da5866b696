//! A check as JSON: what identifies it, and how its monitor travels to vantages. Keys with their default are left out,
//! and the others have a fixed order, so that all servers and all releases write the same text for the same check, and
//! a key that a later release adds changes no text of a check that does not use it.
//!
//! The quorum is left out: it says what the servers make of the reports, and not what is probed. Reading refuses
//! unknown keys, because a check that is probed without one of its keys is another check.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::monitor::bounds::{
    MAX_HOLD_DOWN, MAX_INTERVAL, MAX_REDIRECTS, MAX_RUN, MAX_TEXT, MIN_INTERVAL, MIN_TIMEOUT,
};
use crate::model::{
    CertificateRule, CheckKey, Digested, DnsRdata, DnsSpec, ExecCommand, ExecSpec, GrpcSpec, HttpSpec, Monitor,
    ProbeKind, ProbeTarget, TlsSpec,
};
use crate::wire::Name;

/// Bounds of intervals and time-outs.
const INTERVALS: RangeInclusive<Duration> = MIN_INTERVAL..=MAX_INTERVAL;
const TIMEOUTS: RangeInclusive<Duration> = MIN_TIMEOUT..=MAX_INTERVAL;
/// Bounds of `fall` and `rise`.
const RUNS: RangeInclusive<u32> = 1..=MAX_RUN;
/// Most items of a list: as for policy files or more.
const MAX_ITEMS: usize = 1024;
/// The default of `qtype`: A.
const QTYPE_A: u16 = 1;

/// What is written of a check. The order of the fields is that of the text.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCheck {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    adaptive: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fall: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rise: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold_down: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    undamped: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    hold: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    unverified: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    min_days: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    redirects: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qtype: Option<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    rcode: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    tls: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The text of a check; `None` for heartbeats and composites, which no vantage probes.
pub fn to_json(key: &CheckKey) -> Option<String> {
    let mut check = written(&key.monitor)?;
    check.target = key.target.to_string();
    if let ProbeKind::Exec(spec) = &key.monitor.kind {
        check.endpoint = Some(spec.endpoint.clone());
    }
    // Such plain data always serialises.
    serde_json::to_string(&check).ok()
}

/// The text of what the checks of a monitor have in common: without target and endpoint. `None` as for [`to_json`].
pub(super) fn monitor_to_json(monitor: &Monitor) -> Option<String> {
    serde_json::to_string(&written(monitor)?).ok()
}

/// A monitor without what differs from check to check, and the endpoint where a program receives it.
pub(super) fn shared(monitor: &Digested<Monitor>) -> (Digested<Monitor>, Option<&str>) {
    let ProbeKind::Exec(ExecSpec { command, endpoint }) = &monitor.kind else { return (monitor.clone(), None) };
    (with_endpoint(monitor, command, String::new()), Some(endpoint))
}

fn with_endpoint(monitor: &Monitor, command: &Digested<ExecCommand>, endpoint: String) -> Digested<Monitor> {
    let kind = ProbeKind::Exec(ExecSpec { command: command.clone(), endpoint });
    Monitor { kind, ..monitor.clone() }.into()
}

fn written(monitor: &Monitor) -> Option<WrittenCheck> {
    let Monitor { kind, interval, timeout, adaptive, fall, rise, hold_down, damping, hold, quorum: _ } = monitor;
    let usual = Monitor::new(ProbeKind::Tcp);
    let length =
        |value: Duration, usual: Duration| (value != usual).then(|| humantime::format_duration(value).to_string());
    let mut check = WrittenCheck {
        kind: kind.as_str().to_owned(),
        interval: length(*interval, usual.interval),
        timeout: length(*timeout, usual.timeout),
        adaptive: *adaptive,
        fall: (*fall != usual.fall).then_some(*fall),
        rise: (*rise != usual.rise).then_some(*rise),
        hold_down: length(*hold_down, usual.hold_down),
        undamped: !damping,
        hold: *hold,
        ..WrittenCheck::default()
    };
    match kind {
        ProbeKind::Icmp | ProbeKind::Tcp => {}
        ProbeKind::Http(spec) => check.add_http(spec),
        ProbeKind::Https(spec, rule) => {
            check.add_http(spec);
            check.add_rule(*rule);
        }
        ProbeKind::Tls(TlsSpec { host, certificate }) => {
            check.host.clone_from(host);
            check.add_rule(*certificate);
        }
        ProbeKind::Exec(ExecSpec { command, endpoint: _ }) => {
            check.program = Some(command.program.clone());
            check.args.clone_from(&command.args);
        }
        ProbeKind::Dns(DnsSpec { name, qtype, rcode, rdata }) => {
            check.name = Some(name.to_string());
            check.qtype = (*qtype != QTYPE_A).then_some(*qtype);
            check.rcode = *rcode;
            match rdata {
                Some(DnsRdata::Address(ip)) => check.address = Some(*ip),
                Some(DnsRdata::Text(text)) => check.text = Some(text.clone()),
                None => {}
            }
        }
        ProbeKind::Grpc(GrpcSpec { service, host, tls }) => {
            check.service = (!service.is_empty()).then(|| service.clone());
            check.host.clone_from(host);
            check.tls = tls.is_some();
            if let Some(rule) = tls {
                check.add_rule(*rule);
            }
        }
        ProbeKind::Heartbeat(_) | ProbeKind::Composite(_) => return None,
    }
    Some(check)
}

impl WrittenCheck {
    fn add_http(&mut self, HttpSpec { path, host, headers, statuses, body, redirects }: &HttpSpec) {
        self.path = (path != "/").then(|| path.clone());
        self.host.clone_from(host);
        self.headers = headers.iter().cloned().collect();
        if *statuses != [200] {
            self.statuses.clone_from(statuses);
        }
        self.body.clone_from(body);
        self.redirects = *redirects;
    }

    fn add_rule(&mut self, CertificateRule { verify, min_days }: CertificateRule) {
        (self.unverified, self.min_days) = (!verify, min_days);
    }

    fn rule(&self) -> CertificateRule {
        CertificateRule { verify: !self.unverified, min_days: self.min_days }
    }

    fn http(&self) -> HttpSpec {
        HttpSpec {
            path: self.path.clone().unwrap_or_else(|| "/".to_owned()),
            host: self.host.clone(),
            headers: self.headers.clone().into_iter().collect(),
            statuses: if self.statuses.is_empty() { vec![200] } else { self.statuses.clone() },
            body: self.body.clone(),
            redirects: self.redirects,
        }
    }

    fn command(&self) -> Result<ExecCommand, &'static str> {
        let program = self.program.clone().filter(|path| path.starts_with('/')).ok_or("a program without a path")?;
        Ok(ExecCommand { program, args: self.args.clone() })
    }

    /// The kind of probe; an error is what is wrong. The compiler does not miss the arm of a new kind here: without it
    /// no vantage of another node probes that kind.
    fn probe_kind(&self) -> Result<ProbeKind, &'static str> {
        let host = self.host.clone();
        Ok(match self.kind.as_str() {
            "icmp" => ProbeKind::Icmp,
            "tcp" => ProbeKind::Tcp,
            "http" => ProbeKind::Http(self.http()),
            "https" => ProbeKind::Https(self.http(), self.rule()),
            "tls" => ProbeKind::Tls(TlsSpec { host, certificate: self.rule() }),
            "exec" => ProbeKind::Exec(ExecSpec { command: self.command()?.into(), endpoint: String::new() }),
            "dns" => ProbeKind::Dns(DnsSpec {
                name: Name::parse(self.name.as_deref().ok_or("no name to query")?).map_err(|_| "not a name")?,
                qtype: self.qtype.unwrap_or(QTYPE_A),
                rcode: self.rcode,
                rdata: match (self.address, &self.text) {
                    (Some(ip), None) => Some(DnsRdata::Address(ip)),
                    (None, Some(text)) => Some(DnsRdata::Text(text.clone())),
                    (None, None) => None,
                    (Some(_), Some(_)) => return Err("two contents of a record"),
                },
            }),
            "grpc" => ProbeKind::Grpc(GrpcSpec {
                service: self.service.clone().unwrap_or_default(),
                host,
                tls: self.tls.then(|| self.rule()),
            }),
            _ => return Err("a type that this release does not have"),
        })
    }

    /// The monitor; an error is what is wrong.
    fn monitor(&self) -> Result<Monitor, &'static str> {
        let usual = Monitor::new(ProbeKind::Tcp);
        let monitor = Monitor {
            interval: length(self.interval.as_deref(), usual.interval, &INTERVALS)?,
            timeout: length(self.timeout.as_deref(), usual.timeout, &TIMEOUTS)?,
            adaptive: self.adaptive,
            fall: self.fall.unwrap_or(usual.fall),
            rise: self.rise.unwrap_or(usual.rise),
            hold_down: length(self.hold_down.as_deref(), usual.hold_down, &(Duration::ZERO..=MAX_HOLD_DOWN))?,
            damping: !self.undamped,
            hold: self.hold,
            quorum: usual.quorum,
            kind: self.probe_kind()?,
        };
        if !RUNS.contains(&monitor.fall) || !RUNS.contains(&monitor.rise) || self.redirects > MAX_REDIRECTS {
            return Err("a number out of its range");
        }
        if monitor.hold && matches!(monitor.kind, ProbeKind::Icmp | ProbeKind::Dns(_) | ProbeKind::Exec(_)) {
            return Err("a held connection for a type that has none");
        }
        Ok(monitor)
    }

    /// Whether no list and no text is longer than any policy file may have it, and no text could end an argument.
    fn is_bounded(&self) -> bool {
        let WrittenCheck { host, path, headers, statuses, body, name, text, service, program, args, endpoint, .. } =
            self;
        let texts = [host, path, body, name, text, service, program, endpoint].into_iter().flatten();
        let texts = texts.chain(args).chain(headers.keys()).chain(headers.values());
        let are_short = texts.into_iter().all(|text| is_text(text));
        are_short && [headers.len(), statuses.len(), args.len()].into_iter().all(|items| items <= MAX_ITEMS)
    }
}

/// Reads a check. An error is what is wrong, in a few words.
pub fn from_json(check: &serde_json::Value) -> Result<CheckKey, &'static str> {
    let mut check = read(check)?;
    let (target, endpoint) = (std::mem::take(&mut check.target), check.endpoint.take());
    check_of(&check.monitor()?.into(), &target, endpoint)
}

/// Reads what [`monitor_to_json`] has written.
pub(super) fn monitor_from_json(monitor: &serde_json::Value) -> Result<Monitor, &'static str> {
    let check = read(monitor)?;
    if !check.target.is_empty() || check.endpoint.is_some() {
        return Err("a monitor with a target");
    }
    check.monitor()
}

fn read(check: &serde_json::Value) -> Result<WrittenCheck, &'static str> {
    let check =
        WrittenCheck::deserialize(check).map_err(|_| "a key that this release does not have, or a wrong value")?;
    if check.is_bounded() { Ok(check) } else { Err("a text or a list that is too long") }
}

/// The check of a monitor without an endpoint at a target; `endpoint` is for programs.
pub(super) fn check_of(
    monitor: &Digested<Monitor>,
    target: &str,
    endpoint: Option<String>,
) -> Result<CheckKey, &'static str> {
    let address = || target.parse::<SocketAddr>();
    let at = match &monitor.kind {
        ProbeKind::Icmp => ProbeTarget::Host(target.parse().map_err(|_| "not an address")?),
        ProbeKind::Exec(_) => match (address(), target.parse::<IpAddr>()) {
            (Ok(socket), _) => ProbeTarget::Socket(socket),
            (Err(_), Ok(host)) => ProbeTarget::Host(host),
            (Err(_), Err(_)) => return Err("not an address"),
        },
        ProbeKind::Tcp
        | ProbeKind::Http(_)
        | ProbeKind::Https(..)
        | ProbeKind::Tls(_)
        | ProbeKind::Dns(_)
        | ProbeKind::Grpc(_)
        | ProbeKind::Heartbeat(_)
        | ProbeKind::Composite(_) => ProbeTarget::Socket(address().map_err(|_| "not an address with a port")?),
    };
    let monitor = match (&monitor.kind, endpoint) {
        (ProbeKind::Exec(spec), Some(endpoint)) if is_text(&endpoint) => {
            with_endpoint(monitor, &spec.command, endpoint)
        }
        (ProbeKind::Exec(_), Some(_)) => return Err("a text or a list that is too long"),
        (ProbeKind::Exec(_), None) => return Err("a program without an endpoint"),
        (_, Some(_)) => return Err("an endpoint for a type that has none"),
        (_, None) => monitor.clone(),
    };
    Ok(CheckKey { monitor, target: at })
}

fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.contains('\0')
}

fn length(written: Option<&str>, usual: Duration, range: &RangeInclusive<Duration>) -> Result<Duration, &'static str> {
    let Some(written) = written else { return Ok(usual) };
    let read = humantime::parse_duration(written).map_err(|_| "not a length of time")?;
    if range.contains(&read) { Ok(read) } else { Err("a length of time out of its range") }
}

#[cfg(test)]
mod tests;
