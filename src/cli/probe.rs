//! `portolan probe`: runs a vantage with the arguments.

use std::path::PathBuf;

use crate::cli::{Failure, serve};
use crate::config::Flags;
use crate::daemon::{self, PreparedVantage};

/// Probe from here what the fleet probes, and report it to its servers; answers no DNS and needs no zone files; prints
/// a line `ready ...` when it probes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portolan probe --config /etc/portolan/portolan.toml

The settings need `region`, `node` and [fleet]:
  region = \"us-east\"
  node = \"nyc1\"
  [fleet]
  nats = [\"tls://nats1.example\"]
  cluster = \"prod\"
  credentials = \"nyc1.creds\"")]
pub(super) struct ProbeArgs {
    /// The settings file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: ProbeArgs) -> Result<(), Failure> {
    // This comes before the runtime with its threads: see `PreparedVantage`.
    let prepared = PreparedVantage::load(args.config, Flags::default()).map_err(serve::failure)?;
    serve::run(daemon::probe(prepared))?.map_err(serve::failure)
}
