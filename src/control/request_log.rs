//! A log line at level debug for each request to the API: method, path, status and duration. It contains no token and
//! no body.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use crate::clock;

/// Most characters of a path in the log line. The longest useful path is that of an override, about 100 characters.
const MAX_PATH: usize = 256;

/// Passes `request` on to `next` and logs the result.
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
