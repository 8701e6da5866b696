//! Arguments that several commands share.

use crate::cli::client::Server;

/// The settings file where none is named.
pub(super) const DEFAULT_CONFIG: &str = "portolan.toml";

/// Where the HTTP API of a running server is.
pub(super) const DEFAULT_SERVER: &str = "http://127.0.0.1:8053";

/// The server to ask.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArg {
    /// The running server's HTTP address
    #[arg(long, value_name = "URL", default_value = DEFAULT_SERVER)]
    pub(super) server: Server,
}
