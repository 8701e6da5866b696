//! JSON in responses. It has the escapes of [`crate::printable`], because files and other servers decide what is in its
//! strings, and operators read it in terminals. No other code of `control` makes JSON.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::printable;

/// The media type of JSON (RFC 8259, 11).
const MEDIA_TYPE: &str = "application/json";

/// A response with this value.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        with_type(printable::json(&self.0))
    }
}

/// A response with a text that is JSON already.
pub(super) fn with_type(text: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response()
}

/// A value as JSON, for a response that several clients share.
pub(super) fn octets(value: &impl Serialize) -> Bytes {
    printable::json(value).into()
}

/// A value as JSON on one line, for an event of a stream.
pub(super) fn line(value: &impl Serialize) -> String {
    String::from_utf8(printable::json(value)).unwrap_or_default()
}
