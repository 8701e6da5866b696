//! Arguments that several commands share.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::client::{ApiServer, ca_file};
use crate::cli::{CommandLine, text};
use crate::printable::escaped;

/// The settings file if the command line names none.
pub(super) const DEFAULT_CONFIG: &str = "portolan.toml";

/// The URL of the server if neither the command line nor the environment names one.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8053";

/// The environment variable that names the server.
const SERVER: &str = "PORTOLAN_SERVER";

/// The command line of this process. Ends the process after `--help` and after an error.
pub(super) fn parse() -> CommandLine {
    CommandLine::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        // The message repeats arguments. With their escapes, the same arguments are wrong in the same way.
        let shown = std::env::args_os().map(|arg| escaped(&arg.to_string_lossy()).into_owned());
        if let Err(safe) = CommandLine::try_parse_from(shown)
            && safe.kind() == error.kind()
        {
            safe.exit();
        }
        text::complain(error.render().to_string().trim_end());
        std::process::exit(error.exit_code())
    })
}

/// The running server that a command uses.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArg {
    /// The HTTP address of the running server [default: PORTOLAN_SERVER, else http://127.0.0.1:8053]
    #[arg(long, value_name = "URL")]
    server: Option<ApiServer>,
    /// For https: trust the certificates in this file instead of the system's [default: PORTOLAN_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl ServerArg {
    /// The same from arguments of another command.
    pub(super) fn of(server: Option<ApiServer>, ca: Option<PathBuf>) -> ServerArg {
        ServerArg { server, ca }
    }

    /// The server of the flag, else of the environment, else the default. Ends the process with exit code 2 if the
    /// value in the environment is not a URL, as for a wrong flag.
    pub(super) fn server(&self) -> ApiServer {
        let from_environment = || std::env::var_os(SERVER).filter(|text| !text.is_empty());
        let server = self.server.clone().unwrap_or_else(|| {
            let text = from_environment().map_or(DEFAULT_SERVER.into(), |text| text.to_string_lossy().into_owned());
            text.parse().unwrap_or_else(|why| {
                let why = format!("invalid value in the environment variable {SERVER}: {why}");
                CommandLine::command().error(ErrorKind::ValueValidation, why).exit()
            })
        });
        server.trusting(ca_file(self.ca.as_ref()))
    }

    /// Whether the command line names a server.
    pub(super) fn is_set(&self) -> bool {
        self.server.is_some()
    }
}
