//! `portolan hook-guard`, which a server calls, and no user: runs the program of `on_promote`.

use std::process::ExitCode;

use crate::daemon;

/// Runs the program of `on_promote` below a server, and ends it with the server.
#[derive(Debug, clap::Args)]
pub(super) struct GuardArgs {
    /// When the program has to have ended, in nanoseconds of the monotonic clock; each line of standard input is
    /// another such time
    #[arg(long)]
    until: u64,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    program: Vec<String>,
}

pub(super) fn run(args: &GuardArgs) -> ExitCode {
    daemon::guard(&args.program, args.until)
}
