//! `POST /v1/simulate`: simulates on what is served. It changes nothing, so it needs no token; it takes time of a
//! processor, so few run at once, none is large, and all run beside the tasks that answer.

use std::time::Duration;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::control::State;
use crate::control::problem::problem;
use crate::control::simulate::{Ask, Bounds, SimulateError, simulate};

/// How many run at a time: a person and a script. Each holds one core for seconds at most.
pub(in crate::control) const AT_A_TIME: usize = 2;

/// Longest body in octets: 10,000 lines of demand with names take about as much.
const MAX_BODY: usize = 1 << 20;

/// The body is here within this, or the connection is not worth holding.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The handler.
pub(in crate::control) async fn respond(Shared(state): Shared<State>, request: Request) -> Response {
    // A page of another site can't send this type without asking first, so it can't make us work (Fetch, CORS).
    let is_json = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.starts_with("application/json"));
    if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected a body of type application/json");
    }
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, format!("expected a body of at most {MAX_BODY} octets"));
        }
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let ask: Ask = match serde_json::from_slice(&body) {
        Ok(ask) => ask,
        Err(error) => {
            let expected =
                r#"expected {"lose":["region:NAME"],"override":[{"target","state"}],"demand":[{"net","qps"}]}"#;
            return problem(StatusCode::BAD_REQUEST, format!("{expected}, each of them optional; {error}"));
        }
    };
    let Ok(turn) = state.simulations.clone().try_acquire_owned() else {
        let mut busy =
            problem(StatusCode::TOO_MANY_REQUESTS, format!("{AT_A_TIME} simulations are running: ask again"));
        busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return busy;
    };
    let snapshot = state.snapshots.load_full();
    let run = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        simulate(&snapshot, &snapshot, &ask, Bounds::OF_SERVER)
    });
    match run.await {
        Ok(Ok(outcome)) => Json(outcome).into_response(),
        Ok(Err(error @ SimulateError::Refused(_))) => problem(StatusCode::BAD_REQUEST, error.to_string()),
        Ok(Err(error @ SimulateError::TooMuch(_))) => problem(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, format!("the simulation broke off: {error}")),
    }
}
