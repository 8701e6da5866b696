//! `portolan external-dns`: the webhook provider of external-dns, with the arguments.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::{Failure, serve};
use crate::external_dns::{self, ProviderOptions};

/// Be the webhook provider of external-dns: store the records that Services and Ingresses in Kubernetes want, and write
/// them as policy files for the server; prints a line `ready ...` when it listens
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portolan external-dns --config /etc/portolan/portolan.toml --zone k8s.example
  portolan external-dns --config portolan.toml --zone k8s.example --cluster eu=eu-west --cluster us=us-east

external-dns needs --provider=webhook and --webhook-provider-url=http://127.0.0.1:8888, or, with
--cluster eu, the URL http://127.0.0.1:8888/clusters/eu. Each zone needs a master file
(k8s.example.zone) in the directory of zones; its policy file is written by this command, which
never overwrites one of somebody else.")]
pub(super) struct ExternalDnsArgs {
    /// The settings file of the server: its directory of zones and its regions are used
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A zone for which external-dns may write names; may be given several times
    #[arg(long = "zone", value_name = "ZONE", required = true)]
    zones: Vec<String>,
    /// A cluster, and the region of its targets unless an annotation says another one; may be given several times
    #[arg(long = "cluster", value_name = "NAME[=REGION]")]
    clusters: Vec<String>,
    /// The address for external-dns; port 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// Another address for /healthz alone, such as 0.0.0.0:8080 for the kubelet
    #[arg(long, value_name = "ADDR")]
    health: Option<SocketAddr>,
    /// A file with a line CLUSTER SECRET for each cluster; needed if the address is not a loopback one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn run(args: ExternalDnsArgs) -> Result<(), Failure> {
    let ExternalDnsArgs { config, zones, clusters, listen, health, token_file } = args;
    let options = ProviderOptions { settings: config, zones, clusters, listen, health, tokens: token_file };
    serve::run(external_dns::run(options))?.map_err(Failure)
}
