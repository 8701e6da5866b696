//! `portolan explain`: why a client gets its answer. Requests the explanation from a running server, or compiles the
//! files itself. In the second case no measurements exist, and a note says so.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::args::ServerArg;
use crate::cli::client::encoded;
use crate::cli::{Failure, Format, files, text};
use crate::clock;
use crate::control::explain::{self, Client};
use crate::model::{CheckView, Model, WorldView};
use crate::snapshot::{Identity, Snapshot, compile};
use crate::source;

/// Show why a client gets its answer: every stage of the decision, which endpoints were dropped or ranked and why, and
/// the probability of each answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portolan explain www.svc.example --client 192.0.2.1
  portolan explain _https._tcp.svc.example SRV
  portolan explain www.svc.example AAAA --region eu-west --config portolan.toml")]
pub(super) struct ExplainArgs {
    /// The steered name, such as www.svc.example
    name: String,
    /// A, AAAA, CNAME, SRV, HTTPS or SVCB; without it, the first type that the name has
    #[arg(value_name = "TYPE")]
    rtype: Option<String>,
    /// The client's address; without it and --region, a client whose place is unknown
    #[arg(long, value_name = "IP", conflicts_with = "region")]
    client: Option<IpAddr>,
    /// In place of an address: any client of this region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Explain what these files would answer, without a server: no health and no round-trip time is known then
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArg,
    /// The output format; json is the answer of /v1/explain
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    match &args.config {
        None => from_server(args),
        Some(file) => from_files(args, file),
    }
}

/// Prints the explanation of the running server.
fn from_server(args: &ExplainArgs) -> Result<(), Failure> {
    let client = args.client.map(|ip| ip.to_string());
    let options = [("type", args.rtype.as_deref()), ("client", client.as_deref()), ("region", args.region.as_deref())];
    let mut path = format!("/v1/explain?name={}", encoded(&args.name));
    for (key, value) in options {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", encoded(value)));
        }
    }
    let body = args.server.server().get(&path)?;
    match args.format {
        Format::Json => text::print_json(&body),
        Format::Human => text::print(&explain::human(&text::parsed(&body)?)),
    }
    Ok(())
}

/// Prints the explanation for the files, without a server.
fn from_files(args: &ExplainArgs, file: &Path) -> Result<(), Failure> {
    let loaded = files::load(file).map_err(|problems| {
        text::complain(source::to_human(&problems).trim_end());
        Failure(format!("{} can't be served: see above", file.display()))
    })?;
    let snapshot = unmeasured(Arc::new(loaded.model));
    let client = match (args.client, &args.region) {
        (Some(ip), _) => Client::Address(ip),
        (None, Some(region)) => Client::Region(region),
        (None, None) => Client::Unlocated,
    };
    let explanation = explain::explain(&snapshot, &args.name, args.rtype.as_deref(), client, clock::now())?;
    match args.format {
        Format::Json => text::print_json(&serde_json::to_string(&explanation)?),
        Format::Human => text::print(&explain::human(&text::printable(&explanation)?)),
    }
    text::complain("note: this is from the files alone: no endpoint was probed, and none is known to be down");
    Ok(())
}

/// A snapshot of the model without any measurement.
fn unmeasured(model: Arc<Model>) -> Snapshot {
    let checks = vec![CheckView::default(); model.checks.len()].into();
    let view = WorldView { checks, ..WorldView::default() };
    compile::compile(model, Arc::new(view), Arc::new(Identity::default()), 1, None)
}
