//! `portolan top`: names, map, matrix, events, charts and sources of a running server, live on a terminal.
//!
//! The core is pure: `state` takes news of the server and keys, `digest` derives what is shown, and `draw` makes a
//! picture of it for any size of the window. `feed` reads the API, `screen` is the terminal, and `live` is the loop
//! between them.

#[cfg(feature = "top")]
mod digest;
#[cfg(feature = "top")]
mod draw;
#[cfg(feature = "top")]
mod feed;
#[cfg(feature = "top")]
mod live;
#[cfg(feature = "top")]
mod problems;
#[cfg(feature = "top")]
mod screen;
#[cfg(feature = "top")]
mod state;
#[cfg(all(test, feature = "top"))]
mod tests;

use crate::cli::Failure;
use crate::cli::args::ServerArg;

/// Watch a server on the terminal: names, a map, a matrix of endpoints, events, charts and sources, live
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  portolan top\n  portolan top --server http://127.0.0.1:8053

Keys: 1 to 6, Tab and the arrows choose the view and the line; / filters, Escape ends the filter;
? shows all keys; q ends. It needs a terminal with UTF-8; without one, `portolan status` prints the
same once. It has no colour if NO_COLOR is set.

While the server does not answer, the last picture stays and is marked as old.")]
pub(super) struct TopArgs {
    #[command(flatten)]
    server: ServerArg,
}

#[cfg(feature = "top")]
pub(super) fn run(args: &TopArgs) -> Result<(), Failure> {
    screen::check()?;
    live::run(args.server.server())
}

#[cfg(not(feature = "top"))]
pub(super) fn run(args: &TopArgs) -> Result<(), Failure> {
    // A wrong URL in the environment is wrong usage here too.
    let _ = args.server.server();
    Err(Failure(
        "this program was built without the feature `top`; `portolan status` prints the same once, and \
         `cargo build --features top` builds it"
            .to_owned(),
    ))
}
