//! Errors of the HTTP API as `application/problem+json` (RFC 9457): a status, a title, and a sentence with what to
//! do.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::json::Json;
use crate::control::removal::RemovalReport;
use crate::control::status::ProblemReport;
use crate::control::unanswered::UnansweredQuestions;

/// The media type of every error (RFC 9457, 3).
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// The body of an error. Its type is `about:blank`, so the title is the phrase of the status (RFC 9457, 4.2.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// The reason phrase of the status.
    pub title: String,
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// What was expected, what was found, what to do.
    pub detail: String,
    /// The problems of the files, if the error is about files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemReport>,
    /// What is served although files or sources no longer have it; a reload with `confirm_removal` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removals: Option<RemovalReport>,
    /// The clients that would get no answer any more, if the operator has to confirm that.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = UnansweredQuestions)]
    pub unanswered: Option<UnansweredQuestions>,
}

/// An error response.
pub(super) fn problem(status: StatusCode, detail: impl Into<String>) -> Response {
    response(details(status, detail))
}

/// An error response about files, some of which may have disappeared.
pub(super) fn not_loaded(
    detail: impl Into<String>,
    problems: Vec<ProblemReport>,
    removals: Option<RemovalReport>,
) -> Response {
    response(ProblemDetails { problems, removals, ..details(StatusCode::UNPROCESSABLE_ENTITY, detail) })
}

/// An error response about a change that has to be confirmed.
pub(super) fn unconfirmed(detail: impl Into<String>, unanswered: UnansweredQuestions) -> Response {
    response(ProblemDetails { unanswered: Some(unanswered), ..details(StatusCode::CONFLICT, detail) })
}

/// The error for a client that must wait before it tries again (RFC 6585, 4).
pub(super) fn too_many(detail: &str, wait: Duration) -> Response {
    retry_after(problem(StatusCode::TOO_MANY_REQUESTS, detail), wait)
}

/// The error for a call that needs more memory than is left for clients that read or send slowly.
pub(super) fn no_octets() -> Response {
    let detail = "too many octets wait for clients that are slow: try again in a second";
    retry_after(problem(StatusCode::SERVICE_UNAVAILABLE, detail), Duration::from_secs(1))
}

/// Adds to an error when the client may try again, in whole seconds.
pub(super) fn retry_after(mut response: Response, wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

fn details(status: StatusCode, detail: impl Into<String>) -> ProblemDetails {
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    let (problems, removals, unanswered) = (Vec::new(), None, None);
    ProblemDetails { title, status: status.as_u16(), detail: detail.into(), problems, removals, unanswered }
}

fn response(body: ProblemDetails) -> Response {
    let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}
