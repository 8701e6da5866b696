//! Parses the response of an HTTP/1 server, as leniently as curl: it accepts bare line feeds, folded lines, a space
//! before the colon, a missing reason phrase, and any octet in a value except NUL. A proxy must be stricter (request
//! smuggling). A probe reads one response on a connection of its own, so that is not a danger here. Pure; `http1` reads
//! the octets.

use crate::health::probe::failure::printable;

/// The longest line with the size of a chunk, and the longest trailer, in octets. Judgment: chunk extensions are rare.
const LINE_LIMIT: usize = 8 * 1024;

/// The head of a response. Lines are added one by one.
#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    status: Option<u16>,
    location: Option<Vec<u8>>,
    length: Option<u64>,
    is_chunked: bool,
    /// The last header, which a folded line may continue: its name in lower case, and its value.
    pending: Option<(Vec<u8>, Vec<u8>)>,
}

impl ResponseHead {
    /// Whether a response may begin with these octets.
    pub(super) fn may_begin_with(octets: &[u8]) -> bool {
        let start = octets.iter().position(|octet| !matches!(octet, b'\r' | b'\n')).unwrap_or(octets.len());
        let line = &octets[start..];
        let seen = line.len().min(PROTOCOL.len());
        line[..seen].eq_ignore_ascii_case(&PROTOCOL[..seen])
    }

    /// Adds a line, without its line feed. Returns whether it was the last. The error says what is wrong with it.
    pub(super) fn add_line(&mut self, line: &[u8]) -> Result<bool, String> {
        let line = line.trim_ascii_end_of(b'\r');
        if line.contains(&0) {
            return Err("a NUL octet in the head".to_owned());
        }
        match (self.status, line) {
            // Some servers send an extra empty line after the previous response.
            (None, []) => {}
            (None, line) => self.status = Some(status_of(line)?),
            (Some(_), []) => {
                self.finish_header()?;
                return Ok(true);
            }
            (Some(_), [b' ' | b'\t', more @ ..]) => {
                if let Some((_, value)) = &mut self.pending {
                    value.push(b' ');
                    value.extend(more.trim_ascii());
                }
            }
            (Some(_), line) => {
                self.finish_header()?;
                let colon = line.iter().position(|octet| *octet == b':');
                let colon = colon.ok_or_else(|| format!("a header line without a colon: {:?}", printable(line)))?;
                let name = line[..colon].trim_ascii_end().to_ascii_lowercase();
                self.pending = Some((name, line[colon + 1..].trim_ascii().to_vec()));
            }
        }
        Ok(false)
    }

    /// Takes in that the connection ended after a whole line. Returns whether the head is usable although the empty
    /// line is missing.
    pub(super) fn end_of_input(&mut self) -> Result<bool, String> {
        self.finish_header()?;
        Ok(self.status.is_some())
    }

    /// The status code. It is 0 before the status line.
    pub(super) fn status(&self) -> u16 {
        self.status.unwrap_or_default()
    }

    /// Whether another head follows: an interim response (RFC 9110, 15.2), except "switching protocols".
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status(), 100 | 102..=199)
    }

    /// The location of a redirect.
    pub(super) fn location(&self) -> Option<&[u8]> {
        self.location.as_deref()
    }

    /// How long the body is (RFC 9112, 6.3).
    pub(super) fn framing(&self) -> BodyFraming {
        match (self.status(), self.is_chunked, self.length) {
            (101 | 204 | 304, ..) => BodyFraming::Ended,
            (_, true, _) => BodyFraming::Chunked(ChunkPosition::Size),
            (_, false, Some(length)) => BodyFraming::Length(length),
            (_, false, None) => BodyFraming::UntilEnd,
        }
    }

    /// Takes in the last header, which no folded line continues.
    fn finish_header(&mut self) -> Result<(), String> {
        let Some((name, value)) = self.pending.take() else { return Ok(()) };
        match name.as_slice() {
            b"location" => self.location = self.location.take().or(Some(value)),
            b"content-length" => self.length = length_of(value.trim_ascii())?.or(self.length),
            b"transfer-encoding" => {
                let mut codings = value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
                self.is_chunked |= codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
        Ok(())
    }
}

const PROTOCOL: &[u8] = b"HTTP/";

/// The status in a line such as `HTTP/1.1 200 OK`, with any number of spaces and with or without a reason. Some servers
/// send version 2 in a response that is HTTP/1.1 otherwise.
fn status_of(line: &[u8]) -> Result<u16, String> {
    let wrong = || printable(line);
    let (protocol, rest) = line.split_at_checked(PROTOCOL.len()).ok_or_else(wrong)?;
    if !protocol.eq_ignore_ascii_case(PROTOCOL) {
        return Err(wrong());
    }
    let version = rest.iter().position(|octet| *octet == b' ').ok_or_else(wrong)?;
    if !matches!(&rest[..version], b"1.0" | b"1.1" | b"2" | b"2.0") {
        return Err(wrong());
    }
    match rest[version..].trim_ascii_start() {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]
            if !rest.first().is_some_and(u8::is_ascii_digit) =>
        {
            Ok([a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
        }
        _ => Err(wrong()),
    }
}

/// The number at the beginning of the value. `None` if it does not fit: then the header is ignored.
fn length_of(value: &[u8]) -> Result<Option<u64>, String> {
    let digits = value.strip_prefix(b"+").unwrap_or(value);
    let len = digits.iter().take_while(|octet| octet.is_ascii_digit()).count();
    match std::str::from_utf8(&digits[..len]) {
        Ok(digits) if !digits.is_empty() => Ok(digits.parse().ok()),
        Ok(_) | Err(_) => Err(format!("Content-Length {:?}", printable(value))),
    }
}

/// What is left to read of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// Nothing.
    Ended,
    /// This number of octets.
    Length(u64),
    /// Chunks.
    Chunked(ChunkPosition),
    /// Everything until the connection ends.
    UntilEnd,
}

/// The position in a body of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkPosition {
    /// Before the line with the size.
    Size,
    /// In the data. This number of octets is left.
    Data(u64),
    /// Before the end of the line after the data.
    DataEnd,
    /// After the last chunk.
    Trailer,
}

impl BodyFraming {
    /// Processes as much of `input` as possible. Adds the content to `out`, and returns the number of octets that were
    /// processed. It is 0 if more input is needed first.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let took = match *self {
                BodyFraming::Ended => 0,
                BodyFraming::UntilEnd => {
                    out.extend(rest);
                    rest.len()
                }
                BodyFraming::Length(left) => {
                    let took = take_data(rest, left, out);
                    *self =
                        if took as u64 == left { BodyFraming::Ended } else { BodyFraming::Length(left - took as u64) };
                    took
                }
                BodyFraming::Chunked(chunk) => self.take_chunk(chunk, rest, out)?,
            };
            at += took;
            if took == 0 || at == input.len() {
                return Ok(at);
            }
        }
    }

    fn take_chunk(&mut self, chunk: ChunkPosition, rest: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        if let ChunkPosition::Data(left) = chunk {
            let took = take_data(rest, left, out);
            let left = left - took as u64;
            *self = BodyFraming::Chunked(if left == 0 { ChunkPosition::DataEnd } else { ChunkPosition::Data(left) });
            return Ok(took);
        }
        let Some(end) = rest.iter().position(|octet| *octet == b'\n') else {
            return if rest.len() > LINE_LIMIT { Err("a chunk's line without an end".to_owned()) } else { Ok(0) };
        };
        let line = rest[..end].trim_ascii_end_of(b'\r');
        *self = match chunk {
            ChunkPosition::Size => match size_of(line)? {
                0 => BodyFraming::Chunked(ChunkPosition::Trailer),
                size => BodyFraming::Chunked(ChunkPosition::Data(size)),
            },
            ChunkPosition::Data(_) | ChunkPosition::DataEnd if line.is_empty() => {
                BodyFraming::Chunked(ChunkPosition::Size)
            }
            ChunkPosition::Data(_) | ChunkPosition::DataEnd => {
                return Err("a chunk that is longer than its size".to_owned());
            }
            ChunkPosition::Trailer if line.is_empty() => BodyFraming::Ended,
            ChunkPosition::Trailer => BodyFraming::Chunked(ChunkPosition::Trailer),
        };
        Ok(end + 1)
    }
}

fn take_data(rest: &[u8], left: u64, out: &mut Vec<u8>) -> usize {
    let took = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
    out.extend(&rest[..took]);
    took
}

/// The size of a chunk in hexadecimal. Extensions after it are ignored.
fn size_of(line: &[u8]) -> Result<u64, String> {
    let len = line.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
    let digits = std::str::from_utf8(&line[..len]).unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| format!("a chunk's size is {:?}", printable(line)))
}

/// As `[u8]::trim_ascii_end`, for one octet.
trait TrimEnd {
    fn trim_ascii_end_of(&self, octet: u8) -> &[u8];
}

impl TrimEnd for [u8] {
    fn trim_ascii_end_of(&self, octet: u8) -> &[u8] {
        let end = self.iter().rposition(|other| *other != octet).map_or(0, |last| last + 1);
        &self[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(mut body: BodyFraming, input: &[u8], step: usize) -> Result<(String, BodyFraming), String> {
        let (mut out, mut buffer) = (Vec::new(), Vec::new());
        for part in input.chunks(step) {
            buffer.extend(part);
            let took = body.take(&buffer, &mut out)?;
            buffer.drain(..took);
        }
        Ok((String::from_utf8_lossy(&out).into_owned(), body))
    }

    #[test]
    fn a_body_is_the_same_in_parts_of_any_size() {
        let chunks = BodyFraming::Chunked(ChunkPosition::Size);
        for step in 1..9 {
            for (body, input, content, left) in [
                (BodyFraming::Length(2), "okmore", "ok", BodyFraming::Ended),
                (BodyFraming::Length(9), "ok", "ok", BodyFraming::Length(7)),
                (BodyFraming::UntilEnd, "ok\r\n", "ok\r\n", BodyFraming::UntilEnd),
                (chunks, "2\r\nok\r\n0\r\n\r\n", "ok", BodyFraming::Ended),
                (chunks, "2;a=b\nok\n0\n\n", "ok", BodyFraming::Ended),
                (chunks, "001 \r\no\r\n1\r\nk\r\n0\r\nX: y\r\n\r\n", "ok", BodyFraming::Ended),
                (chunks, "3\r\nok", "ok", BodyFraming::Chunked(ChunkPosition::Data(1))),
            ] {
                assert_eq!(
                    body_of(body, input.as_bytes(), step),
                    Ok((content.to_owned(), left)),
                    "{input:?} by {step}"
                );
            }
            for input in ["zz\r\n", "\r\n", "1\r\nok\r\n", "fffffffffffffffff\r\n"] {
                assert!(body_of(chunks, input.as_bytes(), step).is_err(), "{input:?} by {step}");
            }
        }
        assert!(BodyFraming::Chunked(ChunkPosition::Size).take(&[b'0'; LINE_LIMIT + 1], &mut Vec::new()).is_err());
    }

    #[test]
    fn what_can_not_become_a_response_is_recognized_at_once() {
        for (octets, may) in
            [("", true), ("\r\nHT", true), ("http/1", true), ("HTTP/1.1 200", true), ("2", false), ("HTP", false)]
        {
            assert_eq!(ResponseHead::may_begin_with(octets.as_bytes()), may, "{octets:?}");
        }
    }
}
