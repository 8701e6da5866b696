//! A webhook: each event is a POST with one CloudEvent, signed as Standard Webhooks has it
//! (<https://www.standardwebhooks.com>).
//!
//! Connections stay open for the next event. A response with a status from 200 to 299 means that the receiver has the
//! event; its body is read up to a bound and not used. Redirects are not followed.

mod connection;
mod one_call;
mod signature;
#[cfg(test)]
pub(crate) mod test_receiver;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use tokio::sync::Mutex as AsyncMutex;

use crate::clock;
use crate::config::{SigningSecrets, WebhookSettings};
use crate::fleet::events::ONE;
use crate::model::Moment;
use crate::printable::{cut, escaped};
use crate::sinks::failure::retry_after;
use crate::sinks::{OutgoingEvent, SendFailure};
use connection::Receiver;
use one_call::OneCall;

/// The user agent.
const AGENT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));
/// The most octets of a response body that are read, so that the connection can be used again (judgment: receivers send
/// a word).
const MAX_BODY: usize = 16 << 10;
/// How long the body may take after the status (judgment: it comes with it mostly).
const BODY_WITHIN: Duration = Duration::from_secs(1);
/// The most octets of it that a message shows.
const MAX_SHOWN: usize = 200;
/// A file of secrets is read again when so much time has passed (judgment: "within seconds", and a read costs little).
const READ_AGAIN: Duration = Duration::from_secs(5);

const SECRET_HINT: &str =
    "the secret file has `whsec_` and what `openssl rand -base64 32` prints, readable for the user of the server";

/// A connection that is ready for a request.
type Sender = SendRequest<Full<Bytes>>;

/// The connections to one receiver.
#[derive(Debug)]
pub struct Webhook {
    receiver: Receiver,
    calls: OneCall,
    timeout: Duration,
    secret_file: PathBuf,
    /// The secrets of the last read that succeeded, when the file was last read, and why that failed.
    secrets: AsyncMutex<ReadSecrets>,
    idle: Mutex<Vec<Sender>>,
    most_idle: usize,
}

#[derive(Debug, Default)]
struct ReadSecrets {
    secrets: Option<SigningSecrets>,
    at: Option<Moment>,
    problem: Option<String>,
}

impl Webhook {
    /// Opens nothing yet. `concurrency` is how many connections stay open.
    pub fn new(settings: &WebhookSettings, timeout: Duration, concurrency: usize) -> Webhook {
        let calls = OneCall::default();
        Webhook {
            receiver: Receiver::of(settings, calls.clone()),
            calls,
            timeout,
            secret_file: settings.secret_file.clone(),
            secrets: AsyncMutex::default(),
            idle: Mutex::default(),
            most_idle: concurrency,
        }
    }

    /// Sends one event, once; again, on another connection, after each idle one that the receiver had closed. The
    /// status must come within the time-out, and decides; the body has a short time of its own.
    pub async fn send(&self, event: &OutgoingEvent) -> Result<(), SendFailure> {
        let within = self.timeout;
        match tokio::time::timeout(within, self.send_in_time(event)).await {
            Ok(sent) => {
                let (response, sender) = sent?;
                self.judge(response, sender).await
            }
            Err(_) => {
                let why = format!("no response within {}", humantime::format_duration(within));
                Err(SendFailure::away(why, "look whether the receiver works, and is not too slow; or raise timeout"))
            }
        }
    }

    async fn send_in_time(&self, event: &OutgoingEvent) -> Result<(Response<Incoming>, Sender), SendFailure> {
        let secrets = self.current_secrets().await.map_err(|why| SendFailure::away(why, SECRET_HINT))?;
        loop {
            let used = self.take_idle().await;
            let is_used = used.is_some();
            let mut sender = match used {
                Some(sender) => sender,
                None => self.receiver.connect().await?,
            };
            match sender.send_request(self.request(event, &secrets)).await {
                Ok(response) => return Ok((response, sender)),
                // The receiver may close a connection at any moment.
                Err(_) if is_used => {}
                Err(error) => return Err(connection::failed(&error)),
            }
        }
    }

    fn request(&self, event: &OutgoingEvent, secrets: &SigningSecrets) -> Request<Full<Bytes>> {
        let timestamp = clock::unix_seconds() as u64;
        let mut request = Request::new(Full::new(event.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.receiver.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.receiver.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(ONE));
        for (name, value) in signature::headers(event, timestamp, secrets) {
            // An id has no other octets than those of a subject of NATS and `/`.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        request
    }

    async fn judge(&self, response: Response<Incoming>, sender: Sender) -> Result<(), SendFailure> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        // A body that does not end changes nothing about the status; its connection is not used again.
        let text = tokio::time::timeout(BODY_WITHIN, read_body(body)).await.ok().flatten();
        let detail = match (head.headers.get(LOCATION), &text) {
            (Some(location), _) if (300..400).contains(&status) => {
                format!("to {}", shown(location.as_bytes()))
            }
            (_, text) => text.as_deref().map(shown).unwrap_or_default(),
        };
        if text.is_some() {
            self.put_idle(sender);
        }
        SendFailure::of_status(status, wanted_wait(&head.headers), &detail).map_or(Ok(()), Err)
    }

    /// The secrets of the file, read again where the last read is old. A file that can't be read leaves those from
    /// before.
    async fn current_secrets(&self) -> Result<SigningSecrets, String> {
        let mut known = self.secrets.lock().await;
        let is_fresh = known.at.is_some_and(|at| clock::now().since(at) < READ_AGAIN);
        if !is_fresh {
            let path = self.secret_file.clone();
            let read = self.calls.make(move || SigningSecrets::read(&path)).await;
            known.at = Some(clock::now());
            match read {
                Ok(secrets) => (known.secrets, known.problem) = (Some(secrets), None),
                Err(why) => {
                    if known.problem.as_ref() != Some(&why) {
                        tracing::warn!(why, "the secrets of a sink can't be read again: those from before are used");
                    }
                    known.problem = Some(why);
                }
            }
        }
        known.secrets.clone().ok_or_else(|| known.problem.clone().unwrap_or_default())
    }

    /// The next event reads the file of secrets.
    #[cfg(test)]
    async fn read_secrets_again(&self) {
        self.secrets.lock().await.at = None;
    }

    /// A connection that is open, as far as it is known.
    async fn take_idle(&self) -> Option<Sender> {
        loop {
            let mut sender = self.idle().pop()?;
            // Its last response was read, so this waits for a moment only.
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn put_idle(&self, sender: Sender) {
        let mut idle = self.idle();
        if idle.len() < self.most_idle && !sender.is_closed() {
            idle.push(sender);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of a text of the receiver, in one line.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.trim().lines().next().unwrap_or_default();
    escaped(cut(line, MAX_SHOWN)).into_owned()
}

/// The body of a response; `None` if it is longer than the bound, or broken off: then the connection is not used again.
async fn read_body(mut body: Incoming) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            if text.len() + data.len() > MAX_BODY {
                return None;
            }
            text.extend_from_slice(&data);
        }
    }
    Some(text)
}

fn wanted_wait(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, clock::unix_seconds())
}
