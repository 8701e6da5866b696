//! The HTTP client of the commands that use a running server. Each call has its own connection, and limits of time and
//! size. It uses TLS if the URL is https.

mod event_stream;
mod secure;

use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::http::request;
use hyper::{Method, Request, StatusCode, Uri, client, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::control::ProblemDetails;
use crate::printable::escaped;

pub(super) use event_stream::{EventReader, StreamMessage};
pub(super) use secure::ca_file;

/// The longest time from the first packet to the last octet of the response, because a person waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest response in octets: the status of 50,000 endpoints seen by three vantages is about 25 MB.
const MAX_BODY: usize = 64 << 20;

/// The environment variable with the operator's token. It is no argument, because every user of the machine can read
/// the arguments of a process.
const TOKEN: &str = "PORTOLAN_TOKEN";

/// One request to the API.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Option<String>,
    token: Option<HeaderValue>,
    timeout: Duration,
    /// The id of the last message of a stream that the caller has.
    last_event: Option<String>,
}

impl Call {
    fn new(method: Method, path: &str, body: Option<String>) -> Call {
        Call { method, path: path.to_owned(), body, token: None, timeout: TIMEOUT, last_event: None }
    }

    /// GET `path`, which has its encoded query.
    pub(super) fn get(path: &str) -> Call {
        Call::new(Method::GET, path, None)
    }

    /// PUT with a JSON body.
    pub(super) fn put(path: &str, body: String) -> Call {
        Call::new(Method::PUT, path, Some(body))
    }

    /// POST without a body.
    pub(super) fn post(path: &str) -> Call {
        Call::new(Method::POST, path, None)
    }

    /// POST with a JSON body.
    pub(super) fn post_json(path: &str, body: String) -> Call {
        Call::new(Method::POST, path, Some(body))
    }

    /// DELETE.
    pub(super) fn delete(path: &str) -> Call {
        Call::new(Method::DELETE, path, None)
    }

    /// Adds the token of the environment, if there is one. A server that needs one refuses the call without it.
    pub(super) fn with_token(mut self) -> Result<Call, Failure> {
        let Some(token) = std::env::var_os(TOKEN).filter(|token| !token.is_empty()) else { return Ok(self) };
        let wrong = || Failure(format!("the value of {TOKEN} is not a token: expected letters, digits and -._~+/="));
        let token = Zeroizing::new(token.into_string().map_err(|_| wrong())?);
        let field = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut value = HeaderValue::from_str(&field).map_err(|_| wrong())?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    /// Sets the longest time to wait for the response.
    pub(super) fn within(self, timeout: Duration) -> Call {
        Call { timeout, ..self }
    }
}

/// A server by its URL: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiServer {
    host: String,
    port: u16,
    is_secure: bool,
    /// The file of certificate authorities that replaces those of the system.
    ca: Option<PathBuf>,
}

impl FromStr for ApiServer {
    type Err = String;

    fn from_str(text: &str) -> Result<ApiServer, String> {
        let expected = || format!("expected http://HOST:PORT or https://HOST:PORT, found `{text}`");
        let uri: Uri = text.trim().parse().map_err(|_| expected())?;
        let is_root = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(expected()),
        };
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let host = uri.host().filter(|host| !host.is_empty() && is_root && !has_user).ok_or_else(expected)?;
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(ApiServer { host: host.to_owned(), port, is_secure, ca: None })
    }
}

impl fmt::Display for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// A connection that carries HTTP.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl ApiServer {
    /// Trusts the certificates in this file instead of those of the system, if there is a file.
    pub(super) fn trusting(self, ca: Option<PathBuf>) -> ApiServer {
        ApiServer { ca, ..self }
    }

    /// GETs `path`, which has its encoded query, and returns the body. Any status except 200 is a failure.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        self.call(&Call::get(path))
    }

    /// Makes a call and returns the body. Any status except 200 is a failure with the message of the server.
    pub(super) fn call(&self, call: &Call) -> Result<String, Failure> {
        self.exchange(call)?.map_err(|refused| Failure::refused(&refused))
    }

    /// Makes a call. Returns the body, or the whole problem report of a server that refuses.
    pub(super) fn exchange(&self, call: &Call) -> Result<Result<String, ProblemDetails>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match tokio::time::timeout(call.timeout, self.send(call)).await {
                Ok(done) => done,
                Err(_) => Err(Failure(format!("no response from {self} within {} s", call.timeout.as_secs()))),
            }
        })
    }

    async fn send(&self, call: &Call) -> Result<Result<String, ProblemDetails>, Failure> {
        let invalid = |error: &dyn fmt::Display| Failure(format!("{self} did not send a valid HTTP response: {error}"));
        let stream = self.connect().await?;
        let (mut sender, connection) =
            client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| invalid(&error))?;
        let request = self.head(call).header(header::CONNECTION, "close");
        let request = request.body(Full::new(Bytes::from(call.body.clone().unwrap_or_default())))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| invalid(&error))?;
            let status = response.status();
            let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|error| invalid(&error))?;
            Ok::<_, Failure>((status, location, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        tokio::pin!(exchange);
        let (status, location, body) = tokio::select! {
            result = &mut exchange => result?,
            // The connection only transports octets. When it ends, `exchange` has the response or the error.
            _ = connection => exchange.await?,
        };
        self.result(status, location.as_deref(), body)
    }

    /// Makes a call from a task; as [`ApiServer::call`].
    pub(super) async fn call_within_runtime(&self, call: &Call) -> Result<String, Failure> {
        let late = |_| Failure(format!("no response from {self} within {} s", call.timeout.as_secs()));
        let done = tokio::time::timeout(call.timeout, self.send(call)).await.map_err(late)?;
        done?.map_err(|refused| Failure::refused(&refused))
    }

    /// The first address of its host.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        (host, self.port).to_socket_addrs().ok()?.next().map(|address| address.ip())
    }

    /// A request with the head that all calls have.
    fn head(&self, call: &Call) -> request::Builder {
        let head = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port));
        let head = match &call.token {
            Some(token) => head.header(header::AUTHORIZATION, token),
            None => head,
        };
        if call.body.is_some() { head.header(header::CONTENT_TYPE, "application/json") } else { head }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await.map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => error.to_string(),
            };
            Failure(format!(
                "no server at {self}: {why}; is `portolan serve` running? Name another server with --server"
            ))
        })?;
        if !self.is_secure {
            return Ok(Box::new(stream));
        }
        let stream = secure::handshake(stream, host, self.ca.as_deref()).await;
        Ok(Box::new(stream.map_err(|why| Failure(format!("no TLS connection to {self}: {why}")))?))
    }

    /// The body of a success, or the problem report of a server that refuses. `location` is the target of a redirect.
    fn result(
        &self,
        status: StatusCode,
        location: Option<&str>,
        body: String,
    ) -> Result<Result<String, ProblemDetails>, Failure> {
        if status == StatusCode::OK {
            return Ok(Ok(body));
        }
        if let Some(to) = location.filter(|_| status.is_redirection()) {
            let to: String = escaped(to).chars().take(200).collect();
            return Err(Failure(format!(
                "{self} responds with {status}, a redirect to {to}; name that server with --server"
            )));
        }
        match serde_json::from_str::<ProblemDetails>(&body) {
            Ok(problem) => Ok(Err(problem)),
            Err(_) => Err(Failure(format!("{self} responds with {status}; is it a Portolan server?"))),
        }
    }
}

/// Encodes `text` as a value in a query string. Only unreserved characters stay as they are (RFC 3986, 2.3).
pub(super) fn encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => safe.push(char::from(byte)),
            other => safe.push_str(&format!("%{other:02X}")),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_http_or_https_url_without_a_path() {
        for (text, expected) in [
            ("http://127.0.0.1:8053", Some("http://127.0.0.1:8053")),
            ("http://[::1]:8053/", Some("http://[::1]:8053")),
            ("http://ns1.example", Some("http://ns1.example:80")),
            ("https://127.0.0.1", Some("https://127.0.0.1:443")),
            ("https://ns1.example:8443/", Some("https://ns1.example:8443")),
            ("ftp://127.0.0.1", None),
            ("http://alice@127.0.0.1", None),
            ("http://", None),
            ("127.0.0.1:8053", None),
            ("http://127.0.0.1:8053/v1", None),
            ("", None),
        ] {
            let server = text.parse::<ApiServer>().ok().map(|server| server.to_string());
            assert_eq!(server.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn values_are_encoded_for_a_query() {
        assert_eq!(encoded("*.app.example&a=1 \u{e9}"), "%2A.app.example%26a%3D1%20%C3%A9");
    }

    #[tokio::test]
    async fn responses_and_refusals_of_our_server_are_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server: ApiServer = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let state = crate::control::test_world::world().state;
        let task = tokio::spawn(crate::control::serve(listener, crate::control::router(state), stop.clone()));
        let (found, refused) =
            tokio::task::spawn_blocking(move || (server.get("/v1/status"), server.get("/v1/nothing"))).await.unwrap();
        let status: crate::control::status::Status = serde_json::from_str(&found.unwrap()).unwrap();
        assert_eq!((status.generation, status.zones[0].zone.as_str()), (2, "svc.example."));
        assert!(refused.unwrap_err().0.starts_with("nothing at /v1/nothing"));
        stop.cancel();
        task.await.unwrap();
    }
}
