//! One GET over HTTP/1.1 (RFC 9112): the request, the head of the response, its body part by part, and a polite end.
//! What is read is bounded: a head by [`HEAD_LIMIT`], everything by [`MOST`].

use std::io;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::health::probe::Failure;
use crate::health::probe::bounded::{HEAD_LIMIT, MOST, REST_LIMIT};
use crate::health::probe::polite::SERVER_CLOSES;
use crate::health::probe::response::{Body, Head};

/// So much is read at a time.
const READ: usize = 8 * 1024;

/// A connection on which one request is sent.
pub(super) struct Conversation<S> {
    stream: S,
    input: Vec<u8>,
    /// So much of it is done with.
    at: usize,
    received: usize,
    body: Body,
    body_octets: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    pub(super) fn new(stream: S) -> Conversation<S> {
        Conversation { stream, input: Vec::new(), at: 0, received: 0, body: Body::Ended, body_octets: 0 }
    }

    /// Sends the request and reads the head of the response.
    pub(super) async fn ask(&mut self, request: &Request<Empty<Bytes>>) -> Result<Head, Failure> {
        // A server may answer and end before it has read everything: its response counts.
        let sent = self.send(request).await;
        match (self.head().await, sent) {
            (Ok(head), _) => Ok(head),
            (Err(Failure::Closed), Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Err(Failure::Reset),
            (Err(failure), _) => Err(failure),
        }
    }

    async fn send(&mut self, request: &Request<Empty<Bytes>>) -> io::Result<()> {
        let mut octets = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
        for (name, value) in request.headers() {
            octets.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        octets.extend(b"\r\n");
        self.stream.write_all(&octets).await?;
        self.stream.flush().await
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        loop {
            let head = self.any_head().await?;
            if !head.is_interim() {
                self.body = head.body();
                return Ok(head);
            }
        }
    }

    async fn any_head(&mut self) -> Result<Head, Failure> {
        let (mut head, mut octets, mut searched) = (Head::default(), 0, 0);
        let garbage = |what: String| Failure::Garbage(format!("not HTTP: {what}"));
        loop {
            let rest = &self.input[self.at..];
            if head.status() == 0 && !Head::may_begin_with(rest) {
                // The words of the whole line, as far as it came.
                return Err(head
                    .line(rest.split(|octet| *octet == b'\n').next().unwrap_or(rest))
                    .map_or_else(garbage, |_| garbage("an empty line".to_owned())));
            }
            if let Some(end) = rest[searched..].iter().position(|octet| *octet == b'\n') {
                let line = &rest[..searched + end];
                (octets, searched) = (octets + line.len() + 1, 0);
                let is_last = head.line(line).map_err(garbage)?;
                self.at += line.len() + 1;
                if is_last {
                    return Ok(head);
                }
            } else {
                searched = rest.len();
                if !self.fill().await? {
                    let is_whole_line = self.at == self.input.len();
                    let is_whole = is_whole_line && head.end().map_err(garbage)?;
                    return if is_whole { Ok(head) } else { Err(Failure::Closed) };
                }
            }
            if octets + searched > HEAD_LIMIT {
                return Err(Failure::Garbage(format!("response head over {} KiB", HEAD_LIMIT / 1024)));
            }
        }
    }

    /// The next octets of the body; `None` when it has ended as it should.
    pub(super) async fn part(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut part = Vec::new();
        loop {
            let took = self.body.take(&self.input[self.at..], &mut part);
            self.at += took.map_err(|what| Failure::Garbage(format!("not HTTP: {what}")))?;
            self.body_octets += part.len();
            if !part.is_empty() {
                return Ok(Some(part));
            }
            if self.body == Body::Ended {
                return Ok(None);
            }
            if !self.fill().await? {
                return if self.body == Body::UntilEnd { Ok(None) } else { Err(Failure::Closed) };
            }
        }
    }

    /// Reads what is left of the response, as far as a probe reads one, and closes: so a server that sends its body
    /// after the head is not interrupted by a reset.
    pub(super) async fn finish(mut self) {
        while self.body_octets <= REST_LIMIT {
            match self.part().await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let _ = tokio::time::timeout(SERVER_CLOSES, self.fill()).await;
                    break;
                }
                Err(_) => break,
            }
        }
        if self.body_octets <= REST_LIMIT {
            // It may have ended the connection already.
            let _ = self.stream.shutdown().await;
        }
    }

    /// The same after what is no response: reads on until the server is quiet or closes, and closes.
    pub(super) async fn hang_up(mut self) {
        while self.received <= REST_LIMIT {
            self.at = self.input.len();
            match tokio::time::timeout(SERVER_CLOSES, self.fill()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => {
                    let _ = self.stream.shutdown().await;
                    break;
                }
                Ok(Err(_)) => break,
            }
        }
    }

    /// Reads more; whether anything came before the end.
    async fn fill(&mut self) -> Result<bool, Failure> {
        if self.received >= MOST {
            return Err(Failure::Garbage(format!("HTTP failed: over {} KiB came, and no whole response", MOST / 1024)));
        }
        self.input.drain(..self.at);
        self.at = 0;
        self.input.reserve(READ);
        match self.stream.read_buf(&mut self.input).await {
            Ok(octets) => {
                self.received += octets;
                Ok(octets > 0)
            }
            // TLS that ends without a goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(match Failure::from_io(&error) {
                known if known.is_evidence() => known,
                _ => Failure::Garbage(format!("HTTP failed: {error}")),
            }),
        }
    }
}
