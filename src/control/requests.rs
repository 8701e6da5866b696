//! A log line for each request to the API, at level debug: who asks what, with which outcome, for how long. Neither
//! tokens nor bodies are in it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use crate::clock;

/// As much of a path as a line repeats: our longest is that of an override, of some 100 characters.
const MAX_PATH: usize = 256;

/// Answers `request` as `next` does, and logs it.
pub(super) async fn log(request: Request, next: Next) -> Response {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return next.run(request).await;
    }
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(MAX_PATH).collect();
    let began = clock::now();
    let response = next.run(request).await;
    let ms = clock::now().since(began).as_secs_f64() * 1000.0;
    tracing::debug!(%method, path, status = response.status().as_u16(), ms, "request to the API");
    response
}
