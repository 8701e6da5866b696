//! A stream of server-sent events (WHATWG HTML, 9.2), as a client reads it.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{StatusCode, client, header};
use hyper_util::rt::TokioIo;

use crate::cli::Failure;
use crate::cli::client::{ApiServer, Call, MAX_BODY};
use crate::control::ProblemDetails;

/// A stream without an octet for so long is broken: the server sends a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest line in octets: an event has a few hundred (judgment).
const MAX_LINE: usize = 1 << 20;
/// Longest wait that a server may ask for (judgment: twice what ours asks for).
const MAX_RETRY: Duration = Duration::from_secs(60);

/// An open stream. It ends when this is dropped.
pub(in crate::cli) struct EventReader {
    body: Incoming,
    buffer: Vec<u8>,
    lines: VecDeque<String>,
    /// How long the server wants a client to wait before it opens the stream again.
    pub(in crate::cli) retry: Option<Duration>,
    connection: tokio::task::JoinHandle<()>,
    silence: Duration,
}

/// One message of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct StreamMessage {
    /// Its type; empty for the usual one.
    pub(in crate::cli) event: String,
    /// Its id; empty without one.
    pub(in crate::cli) id: String,
    /// Its content.
    pub(in crate::cli) data: String,
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl ApiServer {
    /// Opens the stream at `path`, which has its encoded query; `last` is the id of the last message that the caller
    /// has. Returns the problem report of a server that refuses.
    pub(in crate::cli) async fn open_events(
        &self,
        path: &str,
        last: Option<&str>,
    ) -> Result<Result<EventReader, ProblemDetails>, Failure> {
        let call = Call { last_event: last.map(str::to_owned), ..Call::get(path) };
        self.open_stream(&call).await
    }

    /// Makes a call whose response is a stream. Returns the problem report of a server that refuses.
    pub(in crate::cli) async fn open_stream(
        &self,
        call: &Call,
    ) -> Result<Result<EventReader, ProblemDetails>, Failure> {
        let opening = self.open(call);
        let within = call.timeout;
        let late = |_| Failure(format!("no response from {self} within {} s", within.as_secs()));
        tokio::time::timeout(within, opening).await.map_err(late)?
    }

    async fn open(&self, call: &Call) -> Result<Result<EventReader, ProblemDetails>, Failure> {
        let invalid =
            |error: &dyn std::fmt::Display| Failure(format!("{self} did not send a valid HTTP response: {error}"));
        let stream = self.connect().await?;
        let (mut sender, connection) =
            client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| invalid(&error))?;
        // It only transports octets. The body reports its end.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request = self.head(call).header(header::ACCEPT, "text/event-stream");
        if let Some(last) = &call.last_event {
            request = request.header("last-event-id", last);
        }
        let body = Full::new(Bytes::from(call.body.clone().unwrap_or_default()));
        let response = sender.send_request(request.body(body)?).await;
        let response = response.map_err(|error| invalid(&error))?;
        let status = response.status();
        let body = response.into_body();
        if status == StatusCode::OK {
            return Ok(Ok(EventReader {
                body,
                buffer: Vec::new(),
                lines: VecDeque::new(),
                retry: None,
                connection,
                silence: SILENCE,
            }));
        }
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| invalid(&error))?;
        match self.result(status, None, String::from_utf8_lossy(&body.to_bytes()).into_owned())? {
            Err(refused) => Ok(Err(refused)),
            Ok(_) => Err(Failure(format!("{self} responds with {status}"))),
        }
    }
}

impl EventReader {
    /// The same with another longest silence, after which the stream is broken.
    pub(in crate::cli) fn silent_for_at_most(self, silence: Duration) -> EventReader {
        let mut reader = self;
        reader.silence = silence;
        reader
    }

    /// The next message; `None` at the end of the stream. An error says why the stream broke.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<StreamMessage>, String> {
        let mut message = StreamMessage::default();
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            if line.is_empty() {
                match message.data.is_empty() {
                    true => message = StreamMessage::default(),
                    false => return Ok(Some(message)),
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => message.event = value.to_owned(),
                "id" => message.id = value.to_owned(),
                "data" => message.data.push_str(value),
                "retry" => self.retry = value.parse().ok().map(|ms| Duration::from_millis(ms).min(MAX_RETRY)),
                // A comment, or something for browsers.
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Result<Option<String>, String> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            let frame = tokio::time::timeout(self.silence, self.body.frame()).await;
            let frame = frame.map_err(|_| format!("nothing came for {} s", self.silence.as_secs()))?;
            let Some(frame) = frame else { return Ok(None) };
            let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
            self.take(&data)?;
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), String> {
        for octet in data {
            match octet {
                b'\n' => {
                    let line = std::mem::take(&mut self.buffer);
                    self.lines.push_back(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
                }
                _ if self.buffer.len() >= MAX_LINE => return Err("a line is too long".to_owned()),
                octet => self.buffer.push(*octet),
            }
        }
        Ok(())
    }
}
