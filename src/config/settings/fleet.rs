//! `[fleet]`: the NATS servers through which the servers and vantages of a fleet work together, who this node is there,
//! and the programs that run before an exclusive name moves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::config::keys::{KeyKind as _, Table, WrongText, duration, inline, integer, keys, text, texts, wrong};
use crate::config::nats::{self, MAX_SERVERS, NatsServers, NatsTlsKeys};
use crate::source::{At, ManualSection, Problems};

/// How this node takes part in a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// The NATS servers, and who this node is there.
    pub nats: NatsServers,
    /// The name of the fleet: the first part of its subjects and buckets.
    pub cluster: String,
    /// How many NATS servers have a copy of each bucket; `None`: 3 where there are as many, else 1.
    pub replicas: Option<u32>,
    /// The program that the holder of a lease runs before an exclusive name moves, and its arguments; empty: none.
    pub on_promote: Vec<String>,
    /// How long that program may run.
    pub hook_timeout: Duration,
}

/// Longest name of a fleet: it is in every subject (judgment).
const MAX_CLUSTER: usize = 32;
/// Most copies of a bucket (NATS: 5).
const MAX_REPLICAS: i64 = 5;
/// Most arguments of a program, with its name (judgment, as for exec monitors).
const MAX_ARGS: usize = 64;
/// Longest argument in octets (as for exec monitors).
const MAX_ARG: usize = 4096;
/// Default of `hook_timeout` (judgment: a database is promoted in seconds).
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds of `hook_timeout`: a program needs a moment to start, and nobody answers for the name while it runs.
const HOOK_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// Most programs of `[vantage] exec` (judgment: each is compared with each target).
pub(super) const MAX_EXEC: usize = 64;

keys! {
    /// `[fleet]`.
    FleetKeys {
        /// the NATS servers: `["nats://10.0.0.1:4222", "tls://nats2.example"]`, up to 16. A node
        /// connects to the first one that it reaches: write the nearest first, so that a node does not lose the fleet
        /// with another region. One that is reached gives the addresses of the others. A user and a password may be in
        /// the address, or in `credentials`
        nats: Vec<At<String>> = texts("[\"nats://127.0.0.1:4222\"]").sized(1..=MAX_SERVERS),
            required "write `nats = [\"nats://127.0.0.1:4222\"]`";
        /// the name of the fleet, the same on all of its nodes: letters, digits, `-` and `_`, up to 32. Several fleets
        /// can use the same NATS servers
        cluster: String = text("\"prod\"").sized(1..=MAX_CLUSTER)
            .matching("^[A-Za-z0-9_-]{1,32}$").parsed(cluster_name),
            required "write `cluster = \"prod\"`, the same on all nodes of the fleet";
        /// the file with this node's credentials for NATS: a `.creds` file (JWT and key), an nkey seed (`SU...`), or a
        /// line `USER PASSWORD`. It is read at each connection
        credentials: String = text("\"vantage.creds\"");
        /// `{ ca = "ca.pem", cert = "node.pem", key = "node.key" }`: connect with TLS. Without `ca`, the system's
        /// authorities are trusted; `cert` and `key` are for NATS servers that verify their clients. The files are read
        /// at each connection
        tls: NatsTlsKeys = inline("{ ca = \"ca.pem\" }");
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
        let nats = nats::servers("nats", keys.nats, (keys.credentials, keys.tls), base, problems);
        let on_promote = keys.hooks.and_then(|hooks| hooks.value.on_promote).map(|program| program.value);
        Some(FleetSettings {
            cluster: keys.cluster?.value,
            nats: nats?,
            replicas: keys.replicas.map(|replicas| replicas.value),
            on_promote: on_promote.unwrap_or_default().into_iter().map(|word| word.value).collect(),
            hook_timeout: keys.hook_timeout.value,
        })
    })
}

fn cluster_name(written: &str) -> Result<String, WrongText> {
    let is_plain = written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if (1..=MAX_CLUSTER).contains(&written.len()) && is_plain {
        return Ok(written.to_owned());
    }
    let message = format!("`cluster` must be 1 to {MAX_CLUSTER} letters, digits, `-` and `_`");
    Err(wrong(message, "write `cluster = \"prod\"`"))
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
    if !may_be_run(&first.value) {
        let message = format!("`{}` is not an executable file on this machine: each promotion would fail", first.value);
        problems.warning(&first.place, message).hint("install it, or correct the path; `chmod +x` makes it executable");
    }
    Some(words)
}

/// Whether there is a file that somebody may execute.
fn may_be_run(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn is_program(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_ARG && !path.contains('\0')
}

/// One of `exec` of `[vantage]`: the programs that the fleet may have this vantage run, as absolute paths.
pub(super) fn exec(written: &str) -> Result<String, WrongText> {
    if is_program(written) {
        return Ok(written.to_owned());
    }
    let hint = "write `exec = [\"/usr/local/bin/check\"]`: a name without a path could be any program";
    Err(wrong("each of `exec` must be the absolute path of a program", hint))
}
