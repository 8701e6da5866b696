//! The HTTP/1.1 client of sources (RFC 9112): one connection to one server, which stays open between requests. Each
//! step has a limit of time, and the caller reads a body in parts, so that nothing is held that it did not ask for.
//!
//! It does not follow redirects: a source is a server that the files name.

mod backoff;
mod base;
mod failure;
mod objects;
mod secret;
mod stream;
mod tls;

use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::Sleep;

use crate::discovery::instance::bounded;
use crate::model::SourceTls;

pub(crate) use backoff::Backoff;
pub(crate) use base::{BaseUrl, encoded};
pub(crate) use failure::HttpFailure;
pub(crate) use objects::{JsonObjects, ObjectForm};
pub(crate) use secret::{bearer, secret_text, secret_value};
#[cfg(feature = "kafka")]
pub(crate) use tls::client_config;
pub(crate) use tls::{TrustWords, explain};

/// Longest head of a reply in octets (judgment: heads of sources have less than 1 KiB).
const MAX_HEAD: usize = 64 << 10;

/// Most octets of an error message that a server sends with a status that is no success (judgment: one line is shown).
const MAX_MESSAGE: usize = 4 << 10;

/// Longest time between two parts of a reply that has begun (judgment: a server that has the reply sends it).
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Longest time from the head of a reply to its end, for all that is no stream (judgment: six times what its head may
/// take; the longest list, 32 MiB, comes in it over 10 Mbit/s). Without it a reply that drips ends never.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// How long an open connection may take to be ready for the next request (judgment: its task needs a turn for that).
const READY_WITHIN: Duration = Duration::from_millis(100);

/// A connection to a server; it is made for the first request, and again after it was closed.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    base: BaseUrl,
    tls: SourceTls,
    open: Option<OpenConnection>,
}

#[derive(Debug)]
struct OpenConnection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the octets. It ends with this value.
    task: AbortHandle,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    head_within: Duration,
}

/// Longest time until the head of a reply where the request names no other (judgment: a source that needs longer is
/// as good as away).
const HEAD_WITHIN: Duration = Duration::from_secs(5);

impl HttpRequest {
    /// GET `path`, which begins with `/` and has its encoded query.
    pub(crate) fn get(path: String) -> HttpRequest {
        HttpRequest { method: Method::GET, path, headers: Vec::new(), body: Bytes::new(), head_within: HEAD_WITHIN }
    }

    /// POST a JSON text.
    pub(crate) fn post(path: &str, body: Vec<u8>) -> HttpRequest {
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let get = HttpRequest::get(path.to_owned());
        HttpRequest { method: Method::POST, headers: vec![json], body: body.into(), ..get }
    }

    /// POST these octets. The caller adds their media type.
    #[cfg(feature = "otel")]
    pub(crate) fn post_bytes(path: &str, body: Bytes) -> HttpRequest {
        HttpRequest { method: Method::POST, body, ..HttpRequest::get(path.to_owned()) }
    }

    /// Adds a header field.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> HttpRequest {
        self.headers.push((name, value));
        self
    }

    /// Sets how long the head of the reply may take.
    pub(crate) fn within(self, head_within: Duration) -> HttpRequest {
        HttpRequest { head_within, ..self }
    }
}

/// A reply whose head has been received.
#[derive(Debug)]
pub(crate) struct HttpReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// Ends [`REPLY_WITHIN`] after the head.
    last_moment: Pin<Box<Sleep>>,
}

impl HttpReply {
    /// The next part of the body, whenever it comes; `None` at its end. Nothing is lost if this is dropped before.
    pub(crate) async fn next_part(&mut self) -> Result<Option<Bytes>, HttpFailure> {
        next_part(&mut self.body).await
    }

    /// The next part of a body that the server has; `None` at its end. All parts have to come within [`REPLY_WITHIN`].
    pub(crate) async fn part(&mut self) -> Result<Option<Bytes>, HttpFailure> {
        let HttpReply { body, last_moment, .. } = self;
        tokio::select! {
            // First of all: parts that come all the time must not hide that the time is over.
            biased;
            () = last_moment => Err(HttpFailure::TooSlow(REPLY_WITHIN)),
            part = tokio::time::timeout(BODY_WITHIN, next_part(body)) => {
                part.map_err(|_| HttpFailure::Stalled(BODY_WITHIN))?
            }
        }
    }

    /// All of the body, `most` octets at most.
    pub(crate) async fn whole(mut self, most: usize) -> Result<Vec<u8>, HttpFailure> {
        let mut body = Vec::new();
        while let Some(part) = self.part().await? {
            if body.len() + part.len() > most {
                return Err(HttpFailure::TooLong(most));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    /// The beginning of a message that explains a status, without its line feeds; empty if there is none.
    pub(crate) async fn message(mut self) -> String {
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(part)) = self.part().await {
                body.extend_from_slice(&part[..part.len().min(MAX_MESSAGE - body.len())]);
                if body.len() >= MAX_MESSAGE {
                    break;
                }
            }
        };
        // What has come until then explains the status too.
        let _ = tokio::time::timeout(BODY_WITHIN, reading).await;
        String::from_utf8_lossy(&body).trim().to_owned()
    }

    /// The value of a header field as text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The content coding of a body; `None`: it has none.
fn coding_of(headers: &HeaderMap) -> Option<String> {
    let codings: Vec<String> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| bounded(String::from_utf8_lossy(value.as_bytes()).trim()))
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        .collect();
    (!codings.is_empty()).then(|| codings.join(", "))
}

async fn next_part(body: &mut Incoming) -> Result<Option<Bytes>, HttpFailure> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(HttpFailure::of_hyper(&error)),
            // Trailers are nothing that a source sends.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

impl HttpConnection {
    /// A connection to `base`, which is not made yet. `tls` has the files for https.
    pub(crate) fn new(base: BaseUrl, tls: SourceTls) -> HttpConnection {
        HttpConnection { base, tls, open: None }
    }

    /// The server.
    pub(crate) fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Sends a request and waits for the head of its reply. The request must be one that may be repeated: if a
    /// connection that was open already has been closed meanwhile, it is sent again on a new one.
    ///
    /// The reply of the request before must have been read to its end, or the connection is made anew.
    pub(crate) async fn send(&mut self, request: &HttpRequest) -> Result<HttpReply, HttpFailure> {
        if let Some(mut open) = self.open.take() {
            // One that is not ready soon is still busy with a reply that nobody reads.
            let ready = tokio::time::timeout(READY_WITHIN, open.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                match self.exchange(&mut open, request).await {
                    Ok(reply) => return Ok(self.keep(open, reply)),
                    Err(failure) if failure.is_of_closed_connection() => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        let mut open = self.connect().await?;
        let reply = self.exchange(&mut open, request).await?;
        Ok(self.keep(open, reply))
    }

    /// Closes the connection. The next request makes another.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    fn keep(&mut self, open: OpenConnection, reply: HttpReply) -> HttpReply {
        self.open = Some(open);
        reply
    }

    async fn exchange(&self, open: &mut OpenConnection, request: &HttpRequest) -> Result<HttpReply, HttpFailure> {
        let HttpRequest { method, path, headers, body, head_within } = request;
        let mut head = Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}", self.base.prefix()))
            .header(HOST, self.base.authority())
            .header(USER_AGENT, concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        for (name, value) in headers {
            head = head.header(name, value);
        }
        let request = head.body(Full::new(body.clone())).map_err(|error| HttpFailure::Request(error.to_string()))?;
        let sent = tokio::time::timeout(*head_within, open.sender.send_request(request)).await;
        let reply = sent.map_err(|_| HttpFailure::NoReply(*head_within))?;
        let (head, body) = reply.map_err(|error| HttpFailure::of_hyper(&error))?.into_parts();
        if head.status.is_success()
            && let Some(coding) = coding_of(&head.headers)
        {
            return Err(HttpFailure::Encoded(coding));
        }
        let last_moment = Box::pin(tokio::time::sleep(REPLY_WITHIN));
        Ok(HttpReply { status: head.status, headers: head.headers, body, last_moment })
    }

    async fn connect(&self) -> Result<OpenConnection, HttpFailure> {
        let stream = stream::connect(&self.base, &self.tls).await?;
        let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| HttpFailure::of_hyper(&error))?;
        // Its error is that of the request.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(OpenConnection { sender, task })
    }
}

#[cfg(test)]
mod tests;
