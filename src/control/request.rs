//! The parts of a request that several handlers read in the same way: a name in the path, and a body of JSON. Each
//! error is a ready response.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;

use crate::control::connections::ApiConnection;
use crate::control::problem::{no_octets, problem};

/// Longest body in octets. The body of an override is under 2 KiB, however its `why` is escaped.
pub(super) const MAX_BODY: usize = 16 * 1024;

/// A body must arrive within this time. The head of a request has its own limit.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A response with an error status. Boxed, because a response is large and errors are rare.
pub(super) type ErrorResponse = Box<Response>;

/// The last part of a path, which is a name.
pub(super) type PathName = Result<Path<String>, PathRejection>;

/// The name in a path.
pub(super) fn name_in(path: PathName) -> Result<String, ErrorResponse> {
    path.map(|Path(name)| name).map_err(|error| bad_request(format!("no name can be read: {}", error.body_text())))
}

/// The whole body, of at most `most` octets. An error repeats `expected`, which describes a correct body.
///
/// The Content-Type is ignored: `curl -d` sends another than JSON, and `Caller::check_origin` refuses the web pages
/// that can send only such types.
pub(super) async fn body(request: Request<Body>, most: usize, expected: &str) -> Result<Vec<u8>, ErrorResponse> {
    let connection = request.extensions().get::<Arc<ApiConnection>>().cloned();
    let _reservation = match connection {
        Some(connection) if most > MAX_BODY => {
            Some(connection.reserve(most).await.ok_or_else(|| Box::new(no_octets()))?)
        }
        Some(_) | None => None,
    };
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), most)).await {
        Ok(Ok(body)) => Ok(body.into()),
        Ok(Err(_)) => {
            let detail = format!("the body can't be read completely, or is over {most} octets; {expected}");
            Err(Box::new(problem(StatusCode::PAYLOAD_TOO_LARGE, detail)))
        }
        Err(_) => Err(Box::new(problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive completely within 10 s"))),
    }
}

pub(super) fn bad_request(why: String) -> ErrorResponse {
    Box::new(problem(StatusCode::BAD_REQUEST, why))
}

/// The error for a command that the steering task no longer accepts.
pub(super) fn stopping() -> ErrorResponse {
    Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping: nothing was changed"))
}
