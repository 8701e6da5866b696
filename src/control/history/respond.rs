//! `GET /v1/history`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;

use super::query::HistoryQuery;
use crate::control::caller::Caller;
use crate::control::json;
use crate::control::problem::problem;
use crate::control::state::ApiState;

/// Describes a correct query, for error messages.
const EXPECTED: &str =
    "expected any of ?kind=answers|rtt&zone=&region=&endpoint=&from=REGION&by=endpoint|region&limit=NUMBER";

/// `GET /v1/history`.
pub(in crate::control) async fn respond(
    Shared(state): Shared<ApiState>,
    caller: Caller,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Response {
    let query = match query.map_err(|error| error.body_text()) {
        Ok(Query(query)) => query,
        Err(why) => return problem(StatusCode::BAD_REQUEST, format!("{EXPECTED}; {why}")),
    };
    if let Err(why) = query.check() {
        return problem(StatusCode::BAD_REQUEST, format!("{why}; {EXPECTED}"));
    }
    let share = match state.costly.share(caller.client) {
        Ok(share) => share,
        Err(error) => return *error,
    };
    let text = state.costly.run(move || {
        // Until the work has ended, also if the client goes away.
        let _share = share;
        json::octets(&state.history.report(&query))
    });
    match text.await {
        Ok(text) => json::with_type(text),
        Err(error) => *error,
    }
}
