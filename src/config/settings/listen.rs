//! The addresses of the settings: `[listen]`, where this node listens, and `[vantage]`, the control targets.

use std::net::{SocketAddr, SocketAddrV6};

use serde_json::json;

use crate::config::interfaces::{self, ParsedAddress};
use crate::config::keys::{Table, integer, keys, text, texts};
use crate::config::settings::fleet::{MAX_EXEC, exec};
use crate::model::never_reached;
use crate::source::{At, ManualSection, Problems};

/// Sockets and threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// UDP and TCP; default `0.0.0.0:53` and `[::]:53`. Port 0 means any free port.
    pub dns: Vec<SocketAddr>,
    /// API, metrics, status page; default `127.0.0.1:8053`.
    pub http: SocketAddr,
    /// DNS over TLS (RFC 7858); default none.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS (RFC 8484); default none.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC (RFC 9250); default none.
    pub quic: Vec<SocketAddr>,
    /// UDP threads; 0, the default, means one for each core.
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

/// Most threads (judgment: four times the cores of a large host).
const MAX_WORKERS: i64 = 1024;
/// Most addresses in a list (judgment).
const MAX_LISTEN: usize = 256;
/// Most control targets (judgment: each is tried every second, and more add no information).
const MAX_CONTROL: usize = 16;

keys! {
    /// `[listen]`.
    ListenKeys {
        /// the addresses for DNS over UDP and TCP; port 0 means any free port. A link-local address needs its
        /// interface, here and in the other keys: `"[fe80::1%eth0]:53"`
        dns: Vec<At<String>> = texts("[\"0.0.0.0:53\", \"[::]:53\"]").bounded(1..=MAX_LISTEN, "addresses"),
            inherits json!(Listen::default().dns);
        /// API, metrics, status page
        http: String = text("\"127.0.0.1:8053\""), inherits json!(Listen::default().http);
        /// DNS over TLS: `["0.0.0.0:853", "[::]:853"]`; needs `[tls]`
        tls: Vec<At<String>> = texts("[\"0.0.0.0:853\", \"[::]:853\"]").bounded(0..=MAX_LISTEN, "addresses");
        /// DNS over HTTPS: `["0.0.0.0:443", "[::]:443"]`, on the path `/dns-query`; needs `[tls]`
        https: Vec<At<String>> = texts("[\"0.0.0.0:443\", \"[::]:443\"]").bounded(0..=MAX_LISTEN, "addresses");
        /// DNS over QUIC: `["0.0.0.0:853", "[::]:853"]`, UDP; needs `[tls]`
        quic: Vec<At<String>> = texts("[\"0.0.0.0:853\", \"[::]:853\"]").bounded(0..=MAX_LISTEN, "addresses");
        /// the number of UDP threads; 0 means one for each core
        workers: usize = integer(0..=MAX_WORKERS), default 0;
    }
}

impl Table for ListenKeys {
    const SECTION: Option<ManualSection> = Some(ManualSection::Settings);
    const LATER: &'static [&'static str] = &["xdp"];
}

keys! {
    /// `[vantage]`.
    VantageKeys in Settings {
        /// `["192.0.2.1:443", "[2001:db8::1]:443"]`, up to 16: hosts outside your network that are always reachable.
        /// The node tries a TCP connection to each of them every second. When the endpoints and most of these hosts are
        /// silent, the node itself is cut off: see [below](#when-the-node-itself-is-cut-off-vantage)
        control: Vec<At<String>> = texts("[\"192.0.2.1:443\"]").bounded(0..=MAX_CONTROL, "addresses");
        /// `["/usr/local/bin/check"]`: programs of `exec` monitors that this node runs for other nodes of its fleet.
        /// Checks of other nodes that need another program are not made here. For the zones of this node it has no
        /// effect
        exec: Vec<At<String>> = texts("[\"/usr/local/bin/check\"]").most(MAX_EXEC, "programs").each(exec),
            default Vec::new();
    }
}

/// Checks `[listen]`.
pub(super) fn listen(keys: ListenKeys, has_tls: bool, problems: &mut Problems) -> Listen {
    let mut listen = Listen { workers: keys.workers.value, ..Listen::default() };
    let mut used = UsedAddresses::default();
    if let Some(list) = keys.dns {
        if list.value.is_empty() {
            let problem = problems.error(&list.place, format!("`dns` must list 1 to {MAX_LISTEN} addresses"));
            problem.hint("write [\"0.0.0.0:53\", \"[::]:53\"]");
        }
        listen.dns = used.add_all(list, "dns", 53, problems);
    }
    if let Some(http) = keys.http {
        listen.http = socket(&http, "http", 8053, problems).unwrap_or(listen.http);
        used.add(&http.map(|_| listen.http), "http", problems);
    }
    for (key, list, port, addresses) in [
        ("tls", keys.tls, 853, &mut listen.tls),
        ("https", keys.https, 443, &mut listen.https),
        ("quic", keys.quic, 853, &mut listen.quic),
    ] {
        let Some(list) = list else { continue };
        if !list.value.is_empty() && !has_tls {
            let problem = problems.error(&list.place, format!("`{key}` needs a certificate, and there is no [tls]"));
            problem.hint("add [tls] with cert = \"cert.pem\" and key = \"key.pem\"");
        }
        *addresses = used.add_all(list, key, port, problems);
    }
    listen
}

/// Checks `[vantage]`: the control targets and the programs.
pub(super) fn vantage(keys: VantageKeys, problems: &mut Problems) -> (Vec<SocketAddr>, Vec<String>) {
    (control(keys.control, problems), keys.exec.value.into_iter().map(|program| program.value).collect())
}

fn control(written: Option<At<Vec<At<String>>>>, problems: &mut Problems) -> Vec<SocketAddr> {
    let mut control: Vec<SocketAddr> = Vec::new();
    for item in written.into_iter().flat_map(|list| list.value) {
        match socket(&item, "control", 443, problems) {
            Some(address) if address.port() == 0 || never_reached(address.ip()).is_some() => {
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
    control
}

/// The addresses that keys of `[listen]` use.
#[derive(Default)]
struct UsedAddresses(Vec<(&'static str, At<SocketAddr>)>);

impl UsedAddresses {
    /// Adds the addresses of a list; `port` is the usual one, for hints.
    fn add_all(
        &mut self,
        list: At<Vec<At<String>>>,
        key: &'static str,
        port: u16,
        problems: &mut Problems,
    ) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for item in list.value {
            let Some(address) = socket(&item, key, port, problems) else { continue };
            self.add(&item.map(|_| address), key, problems);
            addresses.push(address);
        }
        addresses
    }

    /// Adds an address. It is a problem if the same key, or another one that needs the same port, has it already.
    fn add(&mut self, address: &At<SocketAddr>, key: &'static str, problems: &mut Problems) {
        // `quic` has UDP's ports, `tls`, `https` and `http` TCP's, `dns` both.
        let have_different_ports =
            |other: &str| key != other && key != "dns" && other != "dns" && (key == "quic") != (other == "quic");
        let At { value: socket, place } = address;
        let collides = |(other, theirs): &&(&'static str, At<SocketAddr>)| {
            theirs.value == *socket && socket.port() != 0 && !have_different_ports(other)
        };
        match self.0.iter().find(collides) {
            Some((other, theirs)) if *other == key => {
                let problem = problems.error(place, format!("{socket} is listed twice"));
                problem.label(&theirs.place, "first here").hint("leave one of them out");
            }
            Some((other, theirs)) => {
                let problem = problems.error(place, format!("{socket} is in `{other}` too"));
                problem.label(&theirs.place, format!("in `{other}`")).hint("give each a port of its own");
            }
            None => self.0.push((key, address.clone())),
        }
    }
}

/// Reads an address with its port; `port` is the usual one, for hints.
fn socket(written: &At<String>, key: &str, port: u16, problems: &mut Problems) -> Option<SocketAddr> {
    let At { value, place } = written;
    let (message, hint) = match interfaces::parse(value) {
        ParsedAddress::Complete(address) => match interfaces::shared(address.ip()) {
            None => return Some(address),
            Some((what, plain)) => (
                format!("`{key}`: {} is {what}, which no server listens on", address.ip()),
                format!("write \"{}\"", SocketAddr::new(plain, address.port())),
            ),
        },
        ParsedAddress::NeedsInterface(address, known) => {
            let (ip, name) = (address.ip(), known.unwrap_or("eth0".into()));
            (
                format!("`{key}`: {ip} is a link-local address, and has no interface here"),
                format!("write \"[{ip}%{name}]:{}\"; `ip -6 address` lists the interfaces", address.port()),
            )
        }
        ParsedAddress::NoInterface(address, name) => {
            let message = format!("`{key}`: this machine has no interface `{name}` with IPv6");
            problems.warning(place, message).hint("`ip -6 address` lists the interfaces");
            return Some(address);
        }
        ParsedAddress::Wrong => {
            let bare: Option<std::net::IpAddr> = value.parse().ok();
            let example = SocketAddr::new(bare.unwrap_or([127, 0, 0, 1].into()), port);
            // `::1:53` is an address too, but rarely the one that is meant.
            let split = value.rsplit_once(':').and_then(|(ip, port)| Some((ip.parse().ok()?, port.parse().ok()?)));
            let hint = match split {
                Some((ip, port)) => format!("write \"{}\", or \"{example}\"", SocketAddrV6::new(ip, port, 0, 0)),
                None => format!("write \"{example}\""),
            };
            (format!("`{key}` must be an address and a port, and \"{value}\" is not"), hint)
        }
    };
    problems.error(place, message).hint(hint);
    None
}
