//! `portolan schema`: a JSON Schema of the files, with which editors complete, explain and check them.

use clap::ValueEnum;

use crate::cli::{Failure, text};
use crate::config::{self, SchemaOf};

/// Print a JSON Schema of policy files or settings, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portolan schema > policy.schema.json

For editors with Taplo (Even Better TOML), write `#:schema policy.schema.json` as the first line of
a policy file.")]
pub(super) struct SchemaArgs {
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

pub(super) fn run(args: &SchemaArgs) -> Result<(), Failure> {
    let of = match args.of {
        Of::Policy => SchemaOf::Policy,
        Of::Settings => SchemaOf::Settings,
    };
    text::print_json(&serde_json::to_string_pretty(&config::schema(of))?);
    Ok(())
}
