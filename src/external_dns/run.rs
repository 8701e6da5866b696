//! Runs the provider: listens, prints the ready line, and serves until a signal.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::{ApiRoom, ApiRoutes, serve};
use crate::daemon::stop_signal;
use crate::external_dns::http::{Api, health_router, router};
use crate::external_dns::property::is_name;
use crate::external_dns::provider::Provider;
use crate::source::files;
use crate::wire::Name;

/// Most connections at a time: external-dns has one for each cluster, kubelets probe with others (judgment).
const CONNECTIONS: usize = 128;
/// Octets of responses that may wait for their clients (judgment: all records, several times).
const OCTETS: usize = 64 << 20;
/// Longest file of secrets, in octets (judgment: 256 for each cluster).
const MAX_SECRETS: u64 = 64 << 10;
/// Most clusters (judgment).
const MAX_CLUSTERS: usize = 256;
/// Shortest secret, in characters (judgment: 96 bits in base64).
const MIN_SECRET: usize = 16;

/// What the command line has.
#[derive(Debug, Clone)]
pub struct ProviderOptions {
    /// The settings file of the server: its regions, and its directory of zones.
    pub settings: PathBuf,
    /// The zones that the provider writes.
    pub zones: Vec<String>,
    /// Clusters, `NAME` or `NAME=REGION`. Without any, the one of the path `/`.
    pub clusters: Vec<String>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to listen for probes of the kubelet; `None`: nowhere else.
    pub health: Option<SocketAddr>,
    /// The file with a line `CLUSTER SECRET` for each cluster.
    pub tokens: Option<PathBuf>,
}

/// The clusters by name, with the region of those that have one.
type Clusters = (Vec<String>, BTreeMap<String, String>);

/// Runs until SIGTERM or SIGINT. An error says what is wrong with the options or the files.
pub async fn run(options: ProviderOptions) -> Result<(), String> {
    let zones = zones(&options.zones)?;
    let (clusters, regions) = clusters(&options.clusters)?;
    let passwords = options.tokens.as_deref().map(|path| secrets(path, &clusters)).transpose()?;
    if !options.listen.ip().is_loopback() && passwords.is_none() {
        return Err(format!(
            "whoever reaches {} can change the zones: give --token-file, or listen on a loopback address",
            options.listen
        ));
    }
    let provider = Provider::open(&options.settings, zones, regions)?;
    let shown: Vec<String> = provider.zones().iter().map(Name::to_string).collect();
    let api = Api::new(provider, clusters.into(), passwords);
    let stop = CancellationToken::new();
    let (listener, address) = bind(options.listen).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve(listener, routes(router(api.clone())), stop.clone()));
    let mut ready = format!("ready http={address}");
    if let Some(health) = options.health {
        let (listener, address) = bind(health).await?;
        tasks.spawn(serve(listener, routes(health_router(api)), stop.clone()));
        ready.push_str(&format!(" health={address}"));
    }
    ready.push_str(&format!(" zones={}", shown.join(",")));
    // It fails only if the reader of a pipe has ended.
    let _ = writeln!(std::io::stdout(), "{ready}");
    stop_signal().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

fn routes(router: Router) -> ApiRoutes {
    ApiRoutes::new(router, ApiRoom::new(CONNECTIONS, OCTETS))
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(address).await.map_err(|error| format!("can't listen on {address}: {error}"))?;
    let bound = listener.local_addr().map_err(|error| format!("can't listen on {address}: {error}"))?;
    Ok((listener, bound))
}

fn zones(texts: &[String]) -> Result<Vec<Name>, String> {
    let mut zones = Vec::new();
    for text in texts {
        let zone = Name::parse(text).map_err(|error| format!("--zone {text}: {error}"))?;
        if zone == Name::root() || zones.contains(&zone) {
            return Err(format!("--zone {text}: expected each zone once, such as k8s.example"));
        }
        zones.push(zone);
    }
    Ok(zones)
}

fn clusters(texts: &[String]) -> Result<Clusters, String> {
    if texts.is_empty() {
        return Ok((vec![String::new()], BTreeMap::new()));
    }
    if texts.len() > MAX_CLUSTERS {
        return Err(format!("--cluster: at most {MAX_CLUSTERS} are possible"));
    }
    let (mut names, mut regions) = (Vec::new(), BTreeMap::new());
    for text in texts {
        let (name, region) = match text.split_once('=') {
            Some((name, region)) => (name, Some(region)),
            None => (text.as_str(), None),
        };
        let name = cluster_name(name);
        let is_right = (name.is_empty() || is_name(name)) && region.is_none_or(is_name);
        if !is_right || names.iter().any(|known| known == name) {
            return Err(format!(
                "--cluster {text}: expected each once, as NAME or NAME=REGION; `default` is the path /"
            ));
        }
        names.push(name.to_owned());
        if let Some(region) = region {
            regions.insert(name.to_owned(), region.to_owned());
        }
    }
    Ok((names, regions))
}

/// The name of a cluster by how a user writes it: `default` is the one without a name, of the path `/`.
fn cluster_name(written: &str) -> &str {
    if written == "default" { "" } else { written }
}

/// The secrets of a file. No message has its lines.
fn secrets(path: &std::path::Path, clusters: &[String]) -> Result<BTreeMap<String, String>, String> {
    let shown = path.display();
    let text = files::read(path, MAX_SECRETS).map_err(|error| format!("{shown}: {error}"))?;
    let text = String::from_utf8(text).map_err(|_| format!("{shown}: it is not UTF-8"))?;
    let mut secrets = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let wrong = |what: &str| format!("{shown}:{}: {what}", at + 1);
        let mut words = line.split_whitespace();
        let (Some(name), Some(secret), None) = (words.next(), words.next(), words.next()) else {
            return Err(wrong("expected CLUSTER SECRET; `default` is the cluster of the path /"));
        };
        let name = cluster_name(name);
        if !clusters.iter().any(|known| known == name) {
            return Err(wrong("there is no such cluster: add --cluster NAME"));
        }
        if secret.len() < MIN_SECRET {
            return Err(wrong(&format!(
                "the secret is shorter than {MIN_SECRET} characters: write another one, by `openssl rand -hex 16`"
            )));
        }
        if secrets.insert(name.to_owned(), secret.to_owned()).is_some() {
            return Err(wrong("the cluster has a secret already"));
        }
    }
    Ok(secrets)
}
