//! `portolan.toml`: layered by the `config` crate (file, then environment, then flags), read key by key with the place
//! each value came from. Says where this node stands and where the zones are; what the zones say is read elsewhere.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Config, Environment, FileFormat, Value, ValueKind};

use crate::config::certificate::{self, Tls};
use crate::config::clients::ClientSettings;
use crate::config::fields::Fields;
use crate::config::files;
use crate::config::guard::{self, Guard};
use crate::config::interfaces::{self, Read};
use crate::config::log::{self, LogFormat};
use crate::config::manual::ManualSection;
use crate::config::node::{self, Entry, Kind, Node};
use crate::config::operators::{self, Operators};
use crate::config::problem::{Problems, reason};
use crate::config::regions;
use crate::config::source::{At, Place, text_without_mark};
use crate::model::{Clients, Region};

/// Where this node stands, what it listens on, and where the zones are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the region this node stands in; one of `regions`.
    pub region: String,
    /// This node's name: its vantage's, and the NSID. Default: the host's name.
    pub node: String,
    /// Sockets and threads.
    pub listen: Listen,
    /// What this vantage tries to reach besides the endpoints, to tell its own trouble from theirs; default none.
    pub control: Vec<SocketAddr>,
    /// The certificate of DoT, DoH and DoQ; there whenever one of them is.
    pub tls: Option<Tls>,
    /// The directory of the zones, absolute.
    pub zones_dir: PathBuf,
    /// The same directory as the user would type it, for problems.
    pub zones_shown: PathBuf,
    /// How long zones, and all steered names of one, go on when they disappear from the files; default a minute.
    pub removal_delay: Duration,
    /// Cookies, rate limits, and what is told in class CHAOS.
    pub guard: Guard,
    /// Who may change something over the API, and where that is kept.
    pub operators: Operators,
    /// The form of the log; `None` where the settings don't choose one.
    pub log: Option<LogFormat>,
    /// Declared regions; this node's own where none is declared.
    pub regions: Vec<Region>,
    /// Clients by the nets of the regions alone, as policies are judged by.
    pub clients: Clients,
    /// What places clients.
    pub placing: ClientSettings,
}

/// Sockets and threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// UDP and TCP; default `0.0.0.0:53` and `[::]:53`. Port 0 is any free port.
    pub dns: Vec<SocketAddr>,
    /// API, metrics, status page; default `127.0.0.1:8053`.
    pub http: SocketAddr,
    /// DNS over TLS (RFC 7858); default none.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS (RFC 8484); default none.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC (RFC 9250); default none.
    pub quic: Vec<SocketAddr>,
    /// UDP threads; 0, the default, is one a core.
    pub workers: usize,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            dns: vec![SocketAddr::from(([0; 4], 53)), SocketAddr::from(([0u16; 8], 53))],
            http: SocketAddr::from(([127, 0, 0, 1], 8053)),
            tls: Vec::new(),
            https: Vec::new(),
            quic: Vec::new(),
            workers: 0,
        }
    }
}

/// Settings from the command line; they go before the environment and the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Keys as in the file, dotted, and their values as typed; lists with commas. A relative path is relative to the
    /// current directory.
    pub overrides: Vec<(String, String)>,
}

impl Flags {
    /// With one more: `Flags::default().with("listen.http", "127.0.0.1:0")`.
    pub fn with(mut self, key: &str, value: &str) -> Flags {
        self.overrides.push((key.to_string(), value.to_string()));
        self
    }
}

/// More threads than this are a slip of the fingers (judgment: four times the cores of a large host).
pub(super) const MAX_WORKERS: i64 = 1024;
/// More listening addresses than these are a slip of the fingers (judgment).
pub(super) const MAX_LISTEN: usize = 256;
/// More control targets say no more, and each is tried every second (judgment).
pub(super) const MAX_CONTROL: usize = 16;
/// Longest node name: it goes into an EDNS option and file names (judgment).
pub(super) const MAX_NODE: usize = 255;

/// How long what disappears from the files goes on (judgment: `git checkout` of a large tree, or `rsync`, on a slow disk).
pub(super) const REMOVAL_DELAY: Duration = Duration::from_secs(60);
/// A longer delay is a zone that nobody wants any more (judgment).
pub(super) const MAX_REMOVAL_DELAY: Duration = Duration::from_secs(86_400);

/// Reads the settings. As far as they can be read they come back even beside errors, so that the zones' problems can be
/// told in the same run; `None` where the file can't be read at all.
pub(super) fn read(
    file: Option<&Path>,
    environment: HashMap<String, String>,
    flags: &Flags,
    problems: &mut Problems,
) -> Option<Settings> {
    problems.about(ManualSection::Settings, |problems| read_layers(file, environment, flags, problems))
}

/// Largest settings file, in octets (judgment).
const MAX_SETTINGS: u64 = 16 << 20;

fn read_layers(
    file: Option<&Path>,
    environment: HashMap<String, String>,
    flags: &Flags,
    problems: &mut Problems,
) -> Option<Settings> {
    let shown = file.unwrap_or(Path::new("portolan.toml"));
    let text = match file.map(|file| files::read_or_wait(file, MAX_SETTINGS)) {
        None => Vec::new(),
        Some(Ok(text)) => text,
        Some(Err(error)) => {
            let problem =
                problems.error(&Place::start_of(shown), format!("can't read the settings: {}", reason(&error)));
            problem.hint("name the file with --config FILE");
            return None;
        }
    };
    let written = node::parse(shown, &text, problems)?;
    let merged = match layers(&String::from_utf8_lossy(&text), environment, flags) {
        Ok(merged) => merged,
        Err(error) => {
            problems.error(&Place::start_of(shown), format!("can't put the settings together: {error}"));
            return None;
        }
    };
    let tree = Layered { file: shown, flags }.node(&merged, Some(&written), "");
    let base = shown.parent().map(Path::to_path_buf).unwrap_or_default();
    Some(settings(Fields::of_node(tree, "", problems)?, shown, &base, file.is_some(), problems))
}

/// File, then environment, then flags.
fn layers(text: &str, environment: HashMap<String, String>, flags: &Flags) -> Result<Value, config::ConfigError> {
    let variables =
        Environment::with_prefix("PORTOLAN").prefix_separator("__").separator("__").source(Some(environment));
    let mut builder = Config::builder()
        .add_source(config::File::from_str(text_without_mark(text), FileFormat::Toml))
        .add_source(variables);
    for (key, value) in &flags.overrides {
        builder = builder.set_override(key, value.as_str())?;
    }
    Ok(Value::new(None, ValueKind::Table(builder.build()?.try_deserialize()?)))
}

/// Joins merged values with the places they came from.
struct Layered<'a> {
    file: &'a Path,
    flags: &'a Flags,
}

impl Layered<'_> {
    fn node(&self, value: &Value, written: Option<&Node>, path: &str) -> Node {
        match &value.kind {
            ValueKind::Table(table) => {
                let place = written.map_or_else(|| Place::start_of(self.file), |node| node.place.clone());
                let known: &[Entry] = match written.map(|node| &node.kind) {
                    Some(Kind::Table(entries)) => entries,
                    _ => &[],
                };
                Node { place, kind: Kind::Table(self.entries(table, known, path)) }
            }
            other => self.leaf(other, written, path),
        }
    }

    /// Keys of the file in its order, then those from elsewhere in the order of their names.
    fn entries(&self, table: &config::Map<String, Value>, known: &[Entry], path: &str) -> Vec<Entry> {
        let mut names: Vec<&String> = table.keys().collect();
        names.sort_by_key(|name| (known.iter().position(|e| e.key.value == **name).unwrap_or(usize::MAX), *name));
        let entry = |name: &String| {
            let written = known.iter().find(|entry| entry.key.value == *name);
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let value = self.node(&table[name], written.map(|entry| &entry.value), &path);
            let place = written.map_or_else(|| value.place.clone(), |entry| entry.key.place.clone());
            Entry { key: At { value: name.clone(), place }, value }
        };
        names.into_iter().map(entry).collect()
    }

    fn leaf(&self, kind: &ValueKind, written: Option<&Node>, path: &str) -> Node {
        let flag = self.flags.overrides.iter().find(|(key, _)| key == path);
        match (flag, written, kind) {
            (Some((key, value)), ..) => loose(&format!("flag {key}"), value),
            (None, Some(node), kind) if same(&node.kind, kind) => node.clone(),
            (None, _, ValueKind::String(value)) => {
                loose(&format!("$PORTOLAN__{}", path.replace('.', "__").to_uppercase()), value)
            }
            (None, Some(node), _) => node.clone(),
            (None, None, other) => loose("environment", &format!("{other:?}")),
        }
    }
}

/// Whether the merged value is the one in the file: the environment only knows strings.
fn same(written: &Kind, merged: &ValueKind) -> bool {
    match (written, merged) {
        (Kind::Text(text), ValueKind::String(merged)) => text == merged,
        (Kind::Date, _) => true,
        (_, merged) => !matches!(merged, ValueKind::String(_)),
    }
}

fn loose(from: &str, value: &str) -> Node {
    Node { place: Place::start_of(Path::new(from)), kind: Kind::Loose(value.to_string()) }
}

fn settings(mut top: Fields, shown: &Path, base: &Path, has_file: bool, problems: &mut Problems) -> Settings {
    let lacks_region = top.lacks("region");
    let region = top.text("region", "\"eu-west\"", problems);
    if lacks_region {
        let problem = problems.error(&Place::start_of(shown), "`region` is missing: where does this node stand?");
        problem.hint("write `region = \"eu-west\"`, with a name of your own");
    }
    let node = node_name(&mut top, problems);
    let has_tls = top.has("tls");
    let listen = top.table("listen", problems).map_or_else(Listen::default, |fields| listen(fields, has_tls, problems));
    let tls = top.table("tls", problems).and_then(|fields| certificate::read(fields, base, problems));
    let (dir, removal_delay) = top.table("zones", problems).map_or((None, None), |mut zones| {
        let dir = zones.text("dir", "\"zones\"", problems);
        let delay = zones.duration("removal_delay", Duration::ZERO..=MAX_REMOVAL_DELAY, "\"1m\"", problems);
        zones.finish(&[], problems);
        (dir, delay)
    });
    let removal_delay = removal_delay.map_or(REMOVAL_DELAY, |delay| delay.value);
    let guard = guard::read(&mut top, base, problems);
    let read_operators = |problems: &mut Problems| operators::read(&mut top, has_file.then_some(base), problems);
    let operators = problems.about(ManualSection::Operators, read_operators);
    let read_regions = |problems: &mut Problems| regions::read(&mut top, region.as_ref(), base, problems);
    let (regions, clients, placing) = problems.about(ManualSection::Clients, read_regions);
    let control = top.table("vantage", problems).map_or_else(Vec::new, |fields| control(fields, problems));
    let log = log::read(&mut top, problems);
    top.finish(&["fleet"], problems);
    let zones_shown = match dir {
        Some(dir) if dir.place.file.to_string_lossy().starts_with("flag ") => PathBuf::from(dir.value),
        Some(dir) => base.join(dir.value),
        None => base.join("zones"),
    };
    let zones_shown: PathBuf = zones_shown.components().filter(|part| *part != std::path::Component::CurDir).collect();
    let here = if zones_shown.as_os_str().is_empty() { Path::new(".") } else { &zones_shown };
    let zones_dir = std::path::absolute(here).unwrap_or_else(|_| here.to_path_buf());
    let region = region.map_or_else(String::new, |region| region.value);
    Settings {
        region,
        node,
        listen,
        control,
        tls,
        zones_dir,
        zones_shown,
        removal_delay,
        guard,
        operators,
        log,
        regions,
        clients,
        placing,
    }
}

fn node_name(top: &mut Fields, problems: &mut Problems) -> String {
    let host = || gethostname::gethostname().to_string_lossy().into_owned();
    let Some(node) = top.text("node", "\"ns1\"", problems) else { return host() };
    let plain = !node.value.is_empty() && node.value.chars().all(|c| c.is_ascii_graphic());
    if !plain || node.value.len() > MAX_NODE {
        let problem = problems.error(&node.place, format!("`node` must be 1 to {MAX_NODE} printable characters"));
        problem.hint("write `node = \"ns1\"`, or leave it out for the host's name");
    }
    node.value
}

fn listen(mut fields: Fields, has_tls: bool, problems: &mut Problems) -> Listen {
    let mut listen = Listen::default();
    let mut taken = Vec::new();
    if let Some(At { value, .. }) = addresses(&mut fields, "dns", 53, &mut taken, problems) {
        listen.dns = value;
    }
    if let Some(http) = fields.text("http", "\"127.0.0.1:8053\"", problems) {
        listen.http = socket(&http, "http", 8053, problems).unwrap_or(listen.http);
        take(&http.map(|_| listen.http), "http", &mut taken, problems);
    }
    if let Some(workers) = fields.integer("workers", 0..=MAX_WORKERS, problems) {
        listen.workers = workers.value as usize;
    }
    for (key, port, addresses_of) in
        [("tls", 853, &mut listen.tls), ("https", 443, &mut listen.https), ("quic", 853, &mut listen.quic)]
    {
        let Some(At { value, place }) = addresses(&mut fields, key, port, &mut taken, problems) else { continue };
        if !value.is_empty() && !has_tls {
            let problem = problems.error(&place, format!("`{key}` needs a certificate, and there is no [tls]"));
            problem.hint("add [tls] with cert = \"cert.pem\" and key = \"key.pem\"");
        }
        *addresses_of = value;
    }
    fields.finish(&["xdp"], problems);
    listen
}

/// `[vantage]`: what is tried to tell this vantage's own trouble from the world's.
fn control(mut fields: Fields, problems: &mut Problems) -> Vec<SocketAddr> {
    let mut control: Vec<SocketAddr> = Vec::new();
    if let Some(At { value, place }) = fields.texts("control", "[\"192.0.2.1:443\"]", problems) {
        if value.len() > MAX_CONTROL {
            problems.error(&place, format!("`control` must list at most {MAX_CONTROL} addresses"));
        }
        for item in value.into_iter().take(MAX_CONTROL) {
            match socket(&item, "control", 443, problems) {
                Some(address) if address.port() == 0 || address.ip().is_unspecified() => {
                    let problem = problems.error(&item.place, format!("nothing can be reached at {address}"));
                    problem.hint("name a host outside that is always there, with a port that accepts TCP connections");
                }
                Some(address) if control.contains(&address) => {
                    problems.error(&item.place, format!("{address} is listed twice"));
                }
                Some(address) => control.push(address),
                None => {}
            }
        }
    }
    fields.finish(&[], problems);
    control
}

/// An address that some key has.
type Taken = (&'static str, At<SocketAddr>);

/// The addresses under `key`, if it is there; `port` is the usual one, for hints.
fn addresses(
    fields: &mut Fields,
    key: &'static str,
    port: u16,
    taken: &mut Vec<Taken>,
    problems: &mut Problems,
) -> Option<At<Vec<SocketAddr>>> {
    let example = format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]");
    let At { value, place } = fields.texts(key, &example, problems)?;
    if value.len() > MAX_LISTEN {
        problems.error(&place, format!("`{key}` must list at most {MAX_LISTEN} addresses"));
    }
    if value.is_empty() && key == "dns" {
        problems.error(&place, format!("`dns` must list 1 to {MAX_LISTEN} addresses")).hint(format!("write {example}"));
    }
    let mut addresses = Vec::new();
    for item in value.into_iter().take(MAX_LISTEN) {
        let Some(address) = socket(&item, key, port, problems) else { continue };
        take(&item.map(|_| address), key, taken, problems);
        addresses.push(address);
    }
    Some(At { value: addresses, place })
}

/// Gives the address to `key`; a problem when it or another key that needs the same port has it.
fn take(address: &At<SocketAddr>, key: &'static str, taken: &mut Vec<Taken>, problems: &mut Problems) {
    // `quic` has UDP's ports, `tls`, `https` and `http` TCP's, `dns` both.
    let are_apart =
        |other: &str| key != other && key != "dns" && other != "dns" && (key == "quic") != (other == "quic");
    let At { value: socket, place } = address;
    let same = |(other, theirs): &&Taken| theirs.value == *socket && socket.port() != 0 && !are_apart(other);
    match taken.iter().find(same) {
        Some((other, theirs)) if *other == key => {
            let problem = problems.error(place, format!("{socket} is listed twice"));
            problem.label(&theirs.place, "first here").hint("leave one of them out");
        }
        Some((other, theirs)) => {
            let problem = problems.error(place, format!("{socket} is in `{other}` too"));
            problem.label(&theirs.place, format!("in `{other}`")).hint("give each a port of its own");
        }
        None => taken.push((key, address.clone())),
    }
}

fn socket(written: &At<String>, key: &str, port: u16, problems: &mut Problems) -> Option<SocketAddr> {
    match interfaces::read(&written.value) {
        Read::Whole(address) => match interfaces::shared(address.ip()) {
            None => return Some(address),
            Some((what, plain)) => {
                let message = format!("`{key}`: {} is {what}, which no server listens on", address.ip());
                problems
                    .error(&written.place, message)
                    .hint(format!("write \"{}\"", SocketAddr::new(plain, address.port())));
            }
        },
        Read::NeedsInterface(address, known) => {
            let message = format!("`{key}`: {} is a link-local address, and has no interface here", address.ip());
            let (ip, name) = (address.ip(), known.unwrap_or("eth0".into()));
            let hint = format!("write \"[{ip}%{name}]:{}\"; `ip -6 address` lists the interfaces", address.port());
            problems.error(&written.place, message).hint(hint);
        }
        Read::NoInterface(address, name) => {
            let message = format!("`{key}`: this machine has no interface `{name}` with IPv6");
            problems.warning(&written.place, message).hint("`ip -6 address` lists the interfaces");
            return Some(address);
        }
        Read::Wrong => {
            let message = format!("`{key}` must be an address and a port, and \"{}\" is not", written.value);
            let bare: Option<std::net::IpAddr> = written.value.parse().ok();
            let example = SocketAddr::new(bare.unwrap_or([127, 0, 0, 1].into()), port);
            problems.error(&written.place, message).hint(format!("write \"{example}\""));
        }
    }
    None
}

/// The environment as it is now; variables that aren't Unicode can't be settings.
pub(super) fn environment() -> HashMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}
