//! `POST /v1/simulate`: simulates with the snapshot that is being served. It changes nothing, so it needs no token.
//! It needs processor time, so few simulations run at once, the others wait for their turn, each has bounds, and each
//! runs on a thread of its own.

use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::control::caller::Caller;
use crate::control::json::{self, Json};
use crate::control::problem::problem;
use crate::control::request::body;
use crate::control::simulate::request::{Bounds, SimulationError, SimulationRequest};
use crate::control::simulate::run::simulate;
use crate::control::state::ApiState;

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
        body => match json::object(body) {
            Ok(simulation) => simulation,
            Err(error) => return problem(StatusCode::BAD_REQUEST, format!("{error}; {EXPECTED}")),
        },
    };
    let share = match state.simulations.share(caller.client) {
        Ok(share) => share,
        Err(error) => return *error,
    };
    // The snapshot of its turn: it may wait for some seconds.
    let snapshots = state.snapshots.clone();
    let run = state.simulations.run(move || {
        let _share = share;
        let snapshot = snapshots.load_full();
        simulate(&snapshot, &snapshot, &simulation, Bounds::OF_SERVER)
    });
    match run.await {
        Ok(Ok(result)) => Json(result).into_response(),
        Ok(Err(error @ SimulationError::Refused(_))) => problem(StatusCode::BAD_REQUEST, error.to_string()),
        Ok(Err(error @ SimulationError::TooMuch(_))) => problem(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        Err(error) => *error,
    }
}
