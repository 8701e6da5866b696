//! The JSON Schemas (draft 2020-12) of policy files and of `portolan.toml`, for editors that complete, explain and
//! check the files while they are written. They are made from the declarations of the keys. `check` finds more
//! problems than a schema can.

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::config::keys::object;
use crate::config::{settings, spec};

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaOf {
    /// `*.policy.toml`.
    Policy,
    /// `portolan.toml`.
    Settings,
}

/// The schema of a kind of file.
pub fn schema(of: SchemaOf) -> Value {
    let (title, mut schema) = match of {
        SchemaOf::Policy => ("Portolan policy file", policy()),
        SchemaOf::Settings => ("Portolan settings", settings::schema()),
    };
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

/// Only a source of `[discover]` can fill a pool without members.
fn policy() -> Value {
    let mut schema = object(&spec::keys());
    schema["if"] = json!({ "not": { "required": ["discover"] } });
    schema["then"] = json!({ "properties": { "pool": { "additionalProperties": { "required": ["members"] } } } });
    schema
}
