//! `[fleet]`: the NATS servers through which the servers and vantages of a fleet work together, who this node is there,
//! and the programs that run before an exclusive name moves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use crate::config::keys::{KeyKind as _, Table, duration, inline, integer, keys, text, texts};
use crate::source::{
    At, ManualSection, Problems,
    files::{self, absolute, path_of},
    reason,
};

/// How this node takes part in a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// The NATS servers, one at least: `nats://HOST:PORT` or `tls://HOST:PORT`.
    pub nats: Vec<Url>,
    /// The name of the fleet: the first part of its subjects and buckets.
    pub cluster: String,
    /// The file with this node's credentials, absolute.
    pub credentials: Option<PathBuf>,
    /// Files for TLS; `None` if the connection uses TLS only where the NATS server requires it.
    pub tls: Option<FleetTls>,
    /// How many NATS servers have a copy of each bucket; `None`: 3 where there are as many, else 1.
    pub replicas: Option<u32>,
    /// The program that the holder of a lease runs before an exclusive name moves, and its arguments; empty: none.
    pub on_promote: Vec<String>,
    /// How long that program may run.
    pub hook_timeout: Duration,
}

impl FleetSettings {
    /// The files that a connection reads.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let tls = self
            .tls
            .iter()
            .flat_map(|FleetTls { ca, own }| ca.iter().chain(own.iter().flat_map(|(cert, key)| [cert, key])));
        self.credentials.iter().chain(tls).cloned()
    }
}

/// Files for TLS to the NATS servers. They are read at each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetTls {
    /// Certificates of the authorities that sign the NATS servers' certificates; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// This node's own certificate chain and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Most NATS servers (judgment: a client tries them one after another).
const MAX_NATS: usize = 16;
/// Longest name of a fleet: it is in every subject (judgment).
const MAX_CLUSTER: usize = 32;
/// Most copies of a bucket (NATS: 5).
const MAX_REPLICAS: i64 = 5;
/// Most arguments of a program, with its name (judgment, as for exec monitors).
const MAX_ARGS: usize = 64;
/// Longest argument in octets (as for exec monitors).
const MAX_ARG: usize = 4096;
/// Largest file of certificates (judgment: the system's store of all authorities has 200 KiB).
const MAX_PEM: u64 = 1 << 20;
/// Default of `hook_timeout` (judgment: a database is promoted in seconds).
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds of `hook_timeout`: a program needs a moment to start, and nobody answers for the name while it runs.
const HOOK_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// Most programs of `[vantage] exec` (judgment: each is compared with each target).
const MAX_EXEC: usize = 64;

keys! {
    /// `[fleet]`.
    FleetKeys {
        /// the NATS servers: `["nats://10.0.0.1:4222", "tls://nats2.example"]`, up to 16. A node
        /// connects to the first one that it reaches: write the nearest first, so that a node does not lose the fleet
        /// with another region. One that is reached gives the addresses of the others. A user and a password may be in
        /// the address, or in `credentials`
        nats: Vec<At<String>> = texts("[\"nats://127.0.0.1:4222\"]").sized(1..=MAX_NATS),
            required "write `nats = [\"nats://127.0.0.1:4222\"]`";
        /// the name of the fleet, the same on all of its nodes: letters, digits, `-` and `_`, up to 32. Several fleets
        /// can use the same NATS servers
        cluster: String = text("\"prod\"").sized(1..=MAX_CLUSTER).matching("^[A-Za-z0-9_-]{1,32}$").then(cluster_name),
            required "write `cluster = \"prod\"`, the same on all nodes of the fleet";
        /// the file with this node's credentials for NATS: a `.creds` file (JWT and key), an nkey seed (`SU...`), or a
        /// line `USER PASSWORD`. It is read at each connection
        credentials: String = text("\"vantage.creds\"");
        /// `{ ca = "ca.pem", cert = "node.pem", key = "node.key" }`: connect with TLS. Without `ca`, the system's
        /// authorities are trusted; `cert` and `key` are for NATS servers that verify their clients. The files are read
        /// at each connection
        tls: FleetTlsKeys = inline("{ ca = \"ca.pem\" }");
        /// how many NATS servers have a copy of each bucket, 1 to 5. By default 3 where there are at least three NATS
        /// servers, else 1
        replicas: u32 = integer(1..=MAX_REPLICAS), note "3 or 1";
        /// `{ on_promote = ["/usr/local/bin/promote", "db"] }`: the program that the holder of the lease runs before an
        /// exclusive name moves to another endpoint, and its arguments
        hooks: HookKeys = inline("{ on_promote = [\"/usr/local/bin/promote\"] }");
        /// how long such a program may run, 1 s to 10 min. One that takes longer is killed, and the name does not move
        hook_timeout: Duration = duration(HOOK_TIMEOUTS, "\"30s\""), default HOOK_TIMEOUT;
    }
}

impl Table for FleetKeys {
    const SECTION: Option<ManualSection> = Some(ManualSection::Fleet);
}

keys! {
    /// `tls` of `[fleet]`.
    FleetTlsKeys {
        /// PEM: certificates of the authorities that sign those of the NATS servers
        ca: String = text("\"ca.pem\"");
        /// PEM: this node's own certificate chain
        cert: String = text("\"node.pem\"");
        /// PEM: its key
        key: String = text("\"node.key\"");
    }
}

impl Table for FleetTlsKeys {}

keys! {
    /// `hooks` of `[fleet]`.
    HookKeys {
        /// a program, as an absolute path, and its arguments
        on_promote: Vec<At<String>> = texts("[\"/usr/local/bin/promote\", \"db\"]").sized(1..=MAX_ARGS).then(program);
    }
}

impl Table for HookKeys {}

/// Reads `[fleet]`. Its paths are relative to `base` unless a flag names them. `None`: it has an error without which
/// nothing can be connected.
pub(super) fn fleet(keys: FleetKeys, base: &Path, problems: &mut Problems) -> Option<FleetSettings> {
    problems.about(ManualSection::Fleet, |problems| {
        let nats = keys.nats.map(|list| urls(list, problems)).unwrap_or_default();
        let credentials = keys.credentials.map(|written| {
            let shown = path_of(&written, base);
            check_readable(&written, &shown, "credentials", problems);
            absolute(&shown)
        });
        let tls = keys.tls.map(|At { value, place: _ }| tls(value, base, problems));
        let on_promote = keys.hooks.and_then(|hooks| hooks.value.on_promote).map(|program| program.value);
        Some(FleetSettings {
            cluster: keys.cluster?.value,
            nats: if nats.is_empty() { return None } else { nats },
            credentials,
            tls,
            replicas: keys.replicas.map(|replicas| replicas.value),
            on_promote: on_promote.unwrap_or_default().into_iter().map(|word| word.value).collect(),
            hook_timeout: keys.hook_timeout.value,
        })
    })
}

fn urls(list: At<Vec<At<String>>>, problems: &mut Problems) -> Vec<Url> {
    if list.value.is_empty() || list.value.len() > MAX_NATS {
        let problem = problems.error(&list.place, format!("`nats` must list 1 to {MAX_NATS} servers"));
        problem.hint("write [\"nats://127.0.0.1:4222\"]");
    }
    let mut urls: Vec<Url> = Vec::new();
    for written in list.value.into_iter().take(MAX_NATS) {
        match url_of(&written.value) {
            Ok(url) if urls.contains(&url) => {
                problems.error(&written.place, "this NATS server is listed twice").hint("leave one of them out");
            }
            Ok(url) => urls.push(url),
            Err(why) => {
                // The text may have a password, so the message does not repeat it.
                let problem = problems.error(&written.place, format!("`nats`: {why}"));
                problem.hint("write \"nats://HOST:4222\", or \"tls://HOST:4222\"");
            }
        }
    }
    urls
}

/// `HOST`, `HOST:PORT`, or one of them with `nats://` or `tls://` before it.
fn url_of(written: &str) -> Result<Url, String> {
    let whole = if written.contains("://") { written.to_owned() } else { format!("nats://{written}") };
    let url = Url::parse(&whole).map_err(|error| format!("not an address of a NATS server: {error}"))?;
    if !["nats", "tls"].contains(&url.scheme()) {
        return Err(format!("`{}` is not a scheme of NATS servers here", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        return Err("an address of a NATS server has a host and a port".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("nothing may follow the port of a NATS server".to_owned());
    }
    Ok(url)
}

fn cluster_name(At { value, place }: At<String>, problems: &mut Problems) -> Option<String> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if value.is_empty() || value.len() > MAX_CLUSTER || !is_plain {
        let problem =
            problems.error(&place, format!("`cluster` must be 1 to {MAX_CLUSTER} letters, digits, `-` and `_`"));
        problem.hint("write `cluster = \"prod\"`");
        return None;
    }
    Some(value)
}

fn tls(keys: FleetTlsKeys, base: &Path, problems: &mut Problems) -> FleetTls {
    let mut path = |written: Option<&At<String>>, key: &str, is_certificate: bool| {
        let written = written?;
        let shown = path_of(written, base);
        if is_certificate {
            check_certificates(written, &shown, problems);
        } else {
            check_readable(written, &shown, key, problems);
        }
        Some(absolute(&shown))
    };
    let ca = path(keys.ca.as_ref(), "ca", true);
    let (cert, key) = (path(keys.cert.as_ref(), "cert", true), path(keys.key.as_ref(), "key", false));
    for (have, written, lacks) in [("cert", &keys.cert, keys.key.is_none()), ("key", &keys.key, keys.cert.is_none())] {
        if let Some(written) = written.as_ref().filter(|_| lacks) {
            let other = if have == "cert" { "key" } else { "cert" };
            let problem = problems.error(&written.place, format!("`{have}` needs `{other}`"));
            problem.hint("write both, or neither: tls = { ca = \"ca.pem\", cert = \"node.pem\", key = \"node.key\" }");
        }
    }
    FleetTls { ca, own: cert.zip(key) }
}

fn check_readable(written: &At<String>, shown: &Path, key: &str, problems: &mut Problems) {
    if let Err(error) = files::open(shown) {
        let message = format!("`{key}`: can't read {}: {}", shown.display(), reason(&error));
        problems.error(&written.place, message).hint("name a file that exists and that this user may read");
    }
}

/// Warns where no certificate can be read: without one no NATS server would be trusted.
fn check_certificates(written: &At<String>, shown: &Path, problems: &mut Problems) {
    let found = match files::read(shown, MAX_PEM) {
        Ok(text) => CertificateDer::pem_slice_iter(&text).next().map(|first| first.is_ok()),
        Err(error) => {
            let message = format!("can't read {}: {}", shown.display(), reason(&error));
            problems.error(&written.place, message).hint("name a file that exists and that this user may read");
            return;
        }
    };
    if found != Some(true) {
        let message = format!("{}: no certificate in the form of PEM", shown.display());
        problems.error(&written.place, message).hint("it begins with -----BEGIN CERTIFICATE-----");
    }
}

fn program(list: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<At<String>>> {
    let words = list.value;
    let Some(first) = words.first().filter(|first| is_program(&first.value)) else {
        let problem = problems.error(&list.place, "`on_promote` must begin with the absolute path of a program");
        problem.hint("write `on_promote = [\"/usr/local/bin/promote\", \"db\"]`: no shell looks for it");
        return None;
    };
    if words.len() > MAX_ARGS || words.iter().any(|word| word.value.contains('\0') || word.value.len() > MAX_ARG) {
        let message =
            format!("`on_promote` must have at most {MAX_ARGS} words of at most {MAX_ARG} octets, without NUL");
        problems.error(&first.place, message).hint("let the program read a file");
        return None;
    }
    Some(words)
}

fn is_program(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_ARG && !path.contains('\0')
}

/// Checks `exec` of `[vantage]`: the programs that the fleet may have this vantage run, as absolute paths.
pub(super) fn programs(list: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<String>> {
    if list.value.len() > MAX_EXEC {
        problems.error(&list.place, format!("`exec` must list at most {MAX_EXEC} programs"));
    }
    let mut programs = Vec::new();
    for item in list.value.into_iter().take(MAX_EXEC) {
        if is_program(&item.value) {
            programs.push(item.value);
        } else {
            let problem = problems.error(&item.place, "each of `exec` must be the absolute path of a program");
            problem.hint("write `exec = [\"/usr/local/bin/check\"]`: a name without a path could be any program");
        }
    }
    Some(programs)
}
