//! Responses as gzip (RFC 1952) for clients that accept it. A text that all clients share is compressed once for those
//! that wait for it ([`SharedText`]); other responses are compressed one by one, a few at a time, on the threads for
//! calls that cost much. Event streams and short responses stay as they are.

use std::io::Write;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::control::costly::{Costly, SharedWork};
use crate::control::request::ErrorResponse;

/// Shorter responses fit into one packet (judgment).
pub(super) const SHORTEST: usize = 1400;

/// The effort. Measured with the metrics of 10,000 endpoints, 5 MB, and zlib: 9 ms and a 24th of the octets. The next
/// level takes twice as long for a tenth less.
const LEVEL: Compression = Compression::new(3);

/// How a response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Identity,
    /// As gzip.
    Gzip,
}

impl Coding {
    /// What a client accepts: gzip where it names it, or everything, and does not refuse it (RFC 9110, 12.5.3).
    pub(super) fn accepted(headers: &HeaderMap) -> Coding {
        let fields = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
        let (mut named, mut any) = (None, None);
        for part in fields.flat_map(|field| field.split(',')) {
            let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
            let name = name.trim();
            let is_accepted = !is_zero(parameters);
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                named = Some(is_accepted);
            } else if name == "*" {
                any = Some(is_accepted);
            }
        }
        if named.or(any).unwrap_or(false) { Coding::Gzip } else { Coding::Identity }
    }
}

/// Whether the weight of a coding is 0: then the client refuses it.
fn is_zero(parameters: &str) -> bool {
    let weight = parameters.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, value)| value.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
}

/// A text that is the same for every client, in both codings.
#[derive(Debug, Default)]
pub(super) struct SharedText {
    plain: SharedWork<Bytes>,
    gzip: SharedWork<Bytes>,
}

impl SharedText {
    /// The text that `work` makes, in this coding. The error is a response.
    pub(super) async fn result(
        &self,
        costly: &Costly,
        coding: Coding,
        work: impl Fn() -> Bytes + Send + 'static,
    ) -> Result<Bytes, ErrorResponse> {
        match coding {
            Coding::Identity => self.plain.result(costly, work).await,
            Coding::Gzip => self.gzip.result(costly, move || gzip(&work())).await,
        }
    }
}

/// The octets as gzip.
pub(super) fn gzip(octets: &[u8]) -> Bytes {
    let mut encoder = GzipPieces::default();
    let mut text = encoder.add(octets);
    text.extend(encoder.end());
    text.into()
}

/// A text that is compressed while it is made, piece by piece.
pub(super) struct GzipPieces(GzEncoder<Vec<u8>>);

impl Default for GzipPieces {
    fn default() -> GzipPieces {
        GzipPieces(GzEncoder::new(Vec::new(), LEVEL))
    }
}

impl GzipPieces {
    /// Adds a piece; returns what is ready, which may be nothing.
    pub(super) fn add(&mut self, octets: &[u8]) -> Vec<u8> {
        // Writing to memory does not fail.
        let _ = self.0.write_all(octets);
        std::mem::take(self.0.get_mut())
    }

    /// The end of the text.
    pub(super) fn end(self) -> Vec<u8> {
        self.0.finish().unwrap_or_default()
    }
}

/// Marks a response as one whose body is in this coding, and as one that depends on what the client accepts.
pub(super) fn mark(mut response: Response, coding: Coding) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    match coding {
        Coding::Identity => {}
        Coding::Gzip => _ = headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_accept_it() {
        for (fields, expected) in [
            (&[][..], Coding::Identity),
            (&[""], Coding::Identity),
            (&["gzip"], Coding::Gzip),
            (&["deflate, GZIP;q=0.5, br"], Coding::Gzip),
            (&["x-gzip"], Coding::Gzip),
            (&["deflate", "gzip"], Coding::Gzip),
            (&["*"], Coding::Gzip),
            (&["gzip;q=0"], Coding::Identity),
            (&["gzip ; q=0.000"], Coding::Identity),
            (&["*, gzip;q=0"], Coding::Identity),
            (&["gzip, *;q=0"], Coding::Gzip),
            (&["*;q=0"], Coding::Identity),
            (&["identity"], Coding::Identity),
            (&["gzipped, br"], Coding::Identity),
            (&["gzip;q=x"], Coding::Gzip),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(field));
            }
            assert_eq!(Coding::accepted(&headers), expected, "{fields:?}");
        }
    }

    #[test]
    fn pieces_are_one_text() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let mut pieces = GzipPieces::default();
        let mut packed: Vec<u8> = text.chunks(777).flat_map(|piece| pieces.add(piece)).collect();
        packed.extend(pieces.end());
        for packed in [packed, gzip(&text).into()] {
            assert!(packed.len() < text.len() / 2, "{}", packed.len());
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == text);
        }
    }
}
