//! Reads the body of a response, for both versions of HTTP: searches it for a text, or reads the rest of it.

use std::future::Future;

use hyper::body::Bytes;

use crate::health::probe::Failure;
use crate::health::probe::bounded::{BODY_LIMIT, REST_LIMIT};

/// The body of a response, in parts.
pub(super) trait ResponseBody {
    /// Reads the next part, which may be empty. `None` is the regular end of the body.
    fn next_part(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;
}

/// How reading the rest of a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestEnd {
    /// The body ended as it should.
    Complete,
    /// The connection failed.
    Failed,
    /// More than [`REST_LIMIT`] came.
    TooLong,
}

/// Reads the body to its end, but no more than [`REST_LIMIT`], of which `already_read` octets were read before.
pub(super) async fn read_rest(body: &mut impl ResponseBody, already_read: usize) -> RestEnd {
    let mut read = already_read;
    while read <= REST_LIMIT {
        match body.next_part().await {
            Ok(Some(part)) => read += part.len(),
            Ok(None) => return RestEnd::Complete,
            Err(_) => return RestEnd::Failed,
        }
    }
    RestEnd::TooLong
}

/// Searches the first [`BODY_LIMIT`] octets of the body for `text`. Reads no further than to the end of the text, so
/// that a body without an end can be a success.
pub(super) async fn find_text(body: &mut impl ResponseBody, text: &str) -> Result<(), Failure> {
    let mut search = Search { text: text.as_bytes(), read: Vec::new() };
    while let Some(part) = body.next_part().await? {
        if search.finds_in(&part) {
            return Ok(());
        }
        if search.is_over() {
            break;
        }
    }
    if text.is_empty() { Ok(()) } else { Err(Failure::Body { lacks: text.to_owned() }) }
}

/// The search for a text in a body.
struct Search<'a> {
    text: &'a [u8],
    read: Vec<u8>,
}

impl Search<'_> {
    /// Adds a part; returns whether the text ends in it.
    fn finds_in(&mut self, part: &[u8]) -> bool {
        let new = self.read.len();
        self.read.extend(part.iter().take(BODY_LIMIT - new));
        let from = new.saturating_sub(self.text.len().saturating_sub(1));
        self.read.get(from..).is_some_and(|part| contains(part, self.text))
    }

    /// Whether the whole part that is searched was read.
    fn is_over(&self) -> bool {
        self.read.len() == BODY_LIMIT
    }
}

fn contains(part: &[u8], text: &[u8]) -> bool {
    text.is_empty() || part.windows(text.len()).any(|window| window == text)
}
