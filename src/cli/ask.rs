//! Arguments that several commands share.

use std::path::PathBuf;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::cli::CommandLine;
use crate::cli::client::{Server, ca_file};

/// The settings file where none is named.
pub(super) const DEFAULT_CONFIG: &str = "portolan.toml";

/// Where the HTTP API of a running server is.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8053";

/// What names the server in the environment.
const SERVER: &str = "PORTOLAN_SERVER";

/// The server to ask.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArg {
    /// The HTTP address of the running server [default: PORTOLAN_SERVER, else http://127.0.0.1:8053]
    #[arg(long, value_name = "URL")]
    server: Option<Server>,
    /// For https: trust the certificates in this file instead of the system's [default: PORTOLAN_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl ServerArg {
    /// The server: of the flag, else of the environment, else the default. Ends the process with 2 where the environment
    /// names none: that is wrong usage, as a wrong flag is.
    pub(super) fn server(&self) -> Server {
        let of_environment = || std::env::var_os(SERVER).filter(|text| !text.is_empty());
        let server = self.server.clone().unwrap_or_else(|| {
            let text = of_environment().map_or(DEFAULT_SERVER.into(), |text| text.to_string_lossy().into_owned());
            text.parse().unwrap_or_else(|why| {
                let why = format!("invalid value in the environment variable {SERVER}: {why}");
                CommandLine::command().error(ErrorKind::ValueValidation, why).exit()
            })
        });
        server.trusting(ca_file(self.ca.as_ref()))
    }

    /// Whether the flag names one.
    pub(super) fn is_given(&self) -> bool {
        self.server.is_some()
    }
}
