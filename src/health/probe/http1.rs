//! One GET over HTTP/1.1 (RFC 9112): sends the request, reads the head of the response and its body in parts, and
//! closes the connection in order. What is read is bounded: a head by [`HEAD_LIMIT`], everything by [`READ_LIMIT`].

use std::io;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::health::probe::Failure;
use crate::health::probe::body::{ResponseBody, RestEnd, read_rest};
use crate::health::probe::bounded::{HEAD_LIMIT, READ_LIMIT, REST_LIMIT};
use crate::health::probe::closing::SERVER_CLOSE_WAIT;
use crate::health::probe::response::{BodyFraming, ResponseHead};

/// The octets that are read at a time.
const READ_SIZE: usize = 8 * 1024;

/// A connection for one request and its response.
pub(super) struct Http1Exchange<S> {
    stream: S,
    input: Vec<u8>,
    /// The octets at the beginning of `input` that were processed.
    processed: usize,
    received: usize,
    framing: BodyFraming,
    body_octets: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Http1Exchange<S> {
    pub(super) fn new(stream: S) -> Http1Exchange<S> {
        let framing = BodyFraming::Ended;
        Http1Exchange { stream, input: Vec::new(), processed: 0, received: 0, framing, body_octets: 0 }
    }

    /// Sends the request and reads the head of the response.
    pub(super) async fn send(&mut self, request: &Request<Empty<Bytes>>) -> Result<ResponseHead, Failure> {
        // A server may answer and close before it has read the whole request. Then its response counts.
        let sent = self.write(request).await;
        match (self.final_head().await, sent) {
            (Ok(head), _) => Ok(head),
            (Err(Failure::Closed), Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Err(Failure::Reset),
            (Err(failure), _) => Err(failure),
        }
    }

    async fn write(&mut self, request: &Request<Empty<Bytes>>) -> io::Result<()> {
        let mut octets = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
        for (name, value) in request.headers() {
            octets.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        octets.extend(b"\r\n");
        self.stream.write_all(&octets).await?;
        self.stream.flush().await
    }

    /// Reads the head of the response, after any interim responses.
    async fn final_head(&mut self) -> Result<ResponseHead, Failure> {
        loop {
            let head = self.next_head().await?;
            if !head.is_interim() {
                self.framing = head.framing();
                return Ok(head);
            }
        }
    }

    async fn next_head(&mut self) -> Result<ResponseHead, Failure> {
        let (mut head, mut octets, mut searched) = (ResponseHead::default(), 0, 0);
        let garbage = |what: String| Failure::Garbage(format!("not HTTP: {what}"));
        loop {
            let rest = &self.input[self.processed..];
            if head.status() == 0 && !ResponseHead::may_begin_with(rest) {
                // The failure names the whole line, as far as it was received.
                return Err(head
                    .add_line(rest.split(|octet| *octet == b'\n').next().unwrap_or(rest))
                    .map_or_else(garbage, |_| garbage("an empty line".to_owned())));
            }
            if let Some(end) = rest[searched..].iter().position(|octet| *octet == b'\n') {
                let line = &rest[..searched + end];
                (octets, searched) = (octets + line.len() + 1, 0);
                let is_last = head.add_line(line).map_err(garbage)?;
                self.processed += line.len() + 1;
                if is_last {
                    return Ok(head);
                }
            } else {
                searched = rest.len();
                if !self.read_more().await? {
                    let is_whole_line = self.processed == self.input.len();
                    let is_whole = is_whole_line && head.end_of_input().map_err(garbage)?;
                    return if is_whole { Ok(head) } else { Err(Failure::Closed) };
                }
            }
            if octets + searched > HEAD_LIMIT {
                return Err(Failure::Garbage(format!("response head over {} KiB", HEAD_LIMIT / 1024)));
            }
        }
    }

    /// Reads the rest of the response, within the bounds, and closes the connection. So a server that sends its body
    /// after the head is not interrupted by a reset.
    pub(super) async fn read_rest_and_close(mut self) {
        let already_read = self.body_octets;
        match read_rest(&mut self, already_read).await {
            RestEnd::Complete => {
                let _ = tokio::time::timeout(SERVER_CLOSE_WAIT, self.read_more()).await;
            }
            RestEnd::Failed => {}
            RestEnd::TooLong => return,
        }
        // It fails if the server has closed the connection already.
        let _ = self.stream.shutdown().await;
    }

    /// Closes the connection after something that is not a response: first reads until the server pauses or closes.
    pub(super) async fn close_after_garbage(mut self) {
        while self.received <= REST_LIMIT {
            self.processed = self.input.len();
            match tokio::time::timeout(SERVER_CLOSE_WAIT, self.read_more()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => {
                    let _ = self.stream.shutdown().await;
                    break;
                }
                Ok(Err(_)) => break,
            }
        }
    }

    /// Reads more octets; returns whether there were any before the end of the stream.
    async fn read_more(&mut self) -> Result<bool, Failure> {
        if self.received >= READ_LIMIT {
            let limit = READ_LIMIT / 1024;
            return Err(Failure::Garbage(format!("HTTP failed: over {limit} KiB came, and no whole response")));
        }
        self.input.drain(..self.processed);
        self.processed = 0;
        self.input.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.input).await {
            Ok(octets) => {
                self.received += octets;
                Ok(octets > 0)
            }
            // TLS that ends without close_notify.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(match Failure::from_io(&error) {
                known if known.is_evidence() => known,
                _ => Failure::Garbage(format!("HTTP failed: {error}")),
            }),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ResponseBody for Http1Exchange<S> {
    async fn next_part(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut part = Vec::new();
        loop {
            let processed = self.framing.take(&self.input[self.processed..], &mut part);
            self.processed += processed.map_err(|what| Failure::Garbage(format!("not HTTP: {what}")))?;
            self.body_octets += part.len();
            if !part.is_empty() {
                return Ok(Some(part.into()));
            }
            if self.framing == BodyFraming::Ended {
                return Ok(None);
            }
            if !self.read_more().await? {
                return if self.framing == BodyFraming::UntilEnd { Ok(None) } else { Err(Failure::Closed) };
            }
        }
    }
}
