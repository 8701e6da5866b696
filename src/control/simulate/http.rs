//! `POST /v1/simulate`: simulates with the snapshot that is being served. It changes nothing, so it needs no token.
//! It needs processor time, so few simulations run at once, each has bounds, and each runs on a thread of its own.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::control::caller::Caller;
use crate::control::problem::{problem, retry_after};
use crate::control::request::body;
use crate::control::simulate::request::{Bounds, SimulationError, SimulationRequest};
use crate::control::simulate::run::simulate;
use crate::control::state::{ApiState, MAX_SIMULATIONS};

/// Longest body in octets: 10,000 lines of demand with names take about as much.
const MAX_BODY: usize = 1 << 20;

/// Describes a correct body, for error messages.
const EXPECTED: &str = "expected {\"lose\":[\"region:NAME\"],\"override\":[{\"target\",\"state\"}],\
                        \"demand\":[{\"net\",\"qps\"}]}, each of them optional";

/// `POST /v1/simulate`.
pub(in crate::control) async fn respond(Shared(state): Shared<ApiState>, caller: Caller, request: Request) -> Response {
    // A page of another site must not be able to cause work here.
    if let Err(error) = caller.check_origin(&state) {
        return *error;
    }
    let body = match body(request, MAX_BODY, EXPECTED).await {
        Ok(body) => body,
        Err(error) => return *error,
    };
    let simulation: SimulationRequest = match body.trim_ascii() {
        [] => SimulationRequest::default(),
        body => match serde_json::from_slice(body) {
            Ok(simulation) => simulation,
            Err(error) => return problem(StatusCode::BAD_REQUEST, format!("{error}; {EXPECTED}")),
        },
    };
    let Ok(permit) = state.simulations.clone().try_acquire_owned() else {
        let detail = format!("{MAX_SIMULATIONS} simulations are running: ask again");
        return retry_after(problem(StatusCode::TOO_MANY_REQUESTS, detail), Duration::from_secs(1));
    };
    let snapshot = state.snapshots.load_full();
    let run = state.costly.spawn(move || {
        let _permit = permit;
        simulate(&snapshot, &snapshot, &simulation, Bounds::OF_SERVER)
    });
    match run.await {
        Ok(Ok(result)) => Json(result).into_response(),
        Ok(Err(error @ SimulationError::Refused(_))) => problem(StatusCode::BAD_REQUEST, error.to_string()),
        Ok(Err(error @ SimulationError::TooMuch(_))) => problem(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, format!("the simulation broke off: {error}")),
    }
}
