//! `portolan schema`: what editors need to complete, explain and check the files as one types.

use clap::ValueEnum;

use crate::cli::{Failure, text};
use crate::config::{self, SchemaOf};

/// Print a JSON Schema of policy files or settings, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portolan schema > policy.schema.json

Then write `#:schema policy.schema.json` as the first line of a policy file, for editors with Taplo (Even Better TOML).")]
pub(super) struct Args {
    /// The kind of file
    #[arg(value_enum, default_value_t)]
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Of {
    /// Policy files, NAME.policy.toml
    #[default]
    Policy,
    /// The settings, portolan.toml
    Settings,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let of = match args.of {
        Of::Policy => SchemaOf::Policy,
        Of::Settings => SchemaOf::Settings,
    };
    text::print(&format!("{}\n", serde_json::to_string_pretty(&config::schema(of))?));
    Ok(())
}
