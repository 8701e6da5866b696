//! The description of the API by itself (OpenAPI 3.1). [`routes`] is the only list of paths: the router and the
//! document are made from it. Schemas and parameters of queries come from the types that the handlers use. [`errors`]
//! has the statuses of errors and their causes.

pub(super) mod document;
mod errors;
mod operation;
mod operations;
pub(super) mod routes;
pub(super) mod schemas;
#[cfg(test)]
mod tests;
