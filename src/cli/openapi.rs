//! `portolan openapi`: the description of the HTTP API, for generators of clients and for tests.

use crate::cli::{Failure, text};
use crate::control;

/// Print the OpenAPI document of the HTTP API
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portolan openapi > portolan.openapi.json

A running server has the same document at /v1/openapi.json.")]
pub(super) struct OpenapiArgs {}

pub(super) fn run() -> Result<(), Failure> {
    text::print_json(&serde_json::to_string_pretty(&control::openapi_document())?);
    Ok(())
}
