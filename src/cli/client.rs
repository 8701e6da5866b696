//! The HTTP client of the commands that talk to a running server: one call a connection, within bounds of time and size,
//! over TLS where the URL is https.

mod secure;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode, Uri, client, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::cli::Failure;
use crate::control::ProblemDetails;

pub(super) use secure::ca_file;

/// From the first packet to the last octet of the answer: a person waits.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer in octets: the status of 50,000 endpoints seen by three vantages is about 25 MB.
const MAX_BODY: usize = 64 << 20;

/// Where the operator's token is: never an argument, which every user of the machine could read.
const TOKEN: &str = "PORTOLAN_TOKEN";

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Option<String>,
    token: Option<HeaderValue>,
    timeout: Duration,
}

impl Call {
    fn new(method: Method, path: &str, body: Option<String>) -> Call {
        Call { method, path: path.to_owned(), body, token: None, timeout: TIMEOUT }
    }

    /// Asks for `path` (with its query, encoded).
    pub(super) fn get(path: &str) -> Call {
        Call::new(Method::GET, path, None)
    }

    /// Puts JSON there.
    pub(super) fn put(path: &str, body: String) -> Call {
        Call::new(Method::PUT, path, Some(body))
    }

    /// Has something done.
    pub(super) fn post(path: &str) -> Call {
        Call::new(Method::POST, path, None)
    }

    /// Has something done with JSON.
    pub(super) fn post_json(path: &str, body: String) -> Call {
        Call::new(Method::POST, path, Some(body))
    }

    /// Takes away what is there.
    pub(super) fn delete(path: &str) -> Call {
        Call::new(Method::DELETE, path, None)
    }

    /// With the token of the environment, where there is one; the server says when it misses it.
    pub(super) fn with_token(mut self) -> Result<Call, Failure> {
        let Some(token) = std::env::var_os(TOKEN).filter(|token| !token.is_empty()) else { return Ok(self) };
        let wrong = || Failure(format!("what is in {TOKEN} can't be sent: a token is letters, digits and -._~+/="));
        let token = token.into_string().map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| wrong())?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    /// Waits this long for the answer.
    pub(super) fn within(self, timeout: Duration) -> Call {
        Call { timeout, ..self }
    }
}

/// A server by its URL: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
    is_secure: bool,
    /// Who is trusted instead of those whom the system trusts.
    ca: Option<PathBuf>,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Server, String> {
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
        Ok(Server { host: host.to_owned(), port, is_secure, ca: None })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// What HTTP goes over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Server {
    /// Trusts the certificates in this file, where there is one.
    pub(super) fn trusting(self, ca: Option<PathBuf>) -> Server {
        Server { ca, ..self }
    }

    /// The body at `path` (with its query, encoded). Any status but 200 is a failure, in the server's words.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        self.call(&Call::get(path))
    }

    /// The body of the answer to `call`. Any status but 200 is a failure, in the server's words.
    pub(super) fn call(&self, call: &Call) -> Result<String, Failure> {
        self.exchange(call)?.map_err(|refused| Failure(refused.detail))
    }

    /// The same, with the whole of what the server says where it refuses.
    pub(super) fn exchange(&self, call: &Call) -> Result<Result<String, ProblemDetails>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match tokio::time::timeout(call.timeout, self.send(call)).await {
                Ok(done) => done,
                Err(_) => Err(Failure(format!("no answer from {self} within {} s", call.timeout.as_secs()))),
            }
        })
    }

    async fn send(&self, call: &Call) -> Result<Result<String, ProblemDetails>, Failure> {
        let broke_off = |error: &dyn fmt::Display| Failure(format!("{self} does not answer as HTTP should: {error}"));
        let stream = self.connect().await?;
        let (mut sender, connection) =
            client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke_off(&error))?;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::CONNECTION, "close");
        if let Some(token) = &call.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(call.body.clone().unwrap_or_default())))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| broke_off(&error))?;
            let status = response.status();
            let leads_to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
            let body =
                Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|error| broke_off(&error))?;
            Ok::<_, Failure>((status, leads_to, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        tokio::pin!(answer);
        let (status, leads_to, body) = tokio::select! {
            answer = &mut answer => answer?,
            // The connection only moves octets; whatever ends it, the answer tells.
            _ = connection => answer.await?,
        };
        self.judge(status, leads_to.as_deref(), body)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await.map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => error.to_string(),
            };
            Failure(format!("no server at {self}: {why}; is `portolan serve` running? --server tells where"))
        })?;
        if !self.is_secure {
            return Ok(Box::new(stream));
        }
        let stream = secure::handshake(stream, host, self.ca.as_deref()).await;
        Ok(Box::new(stream.map_err(|why| Failure(format!("no safe connection to {self}: {why}")))?))
    }

    /// The body of a success, or what the server says where it refuses; `leads_to` is where a redirect does.
    fn judge(
        &self,
        status: StatusCode,
        leads_to: Option<&str>,
        body: String,
    ) -> Result<Result<String, ProblemDetails>, Failure> {
        if status == StatusCode::OK {
            return Ok(Ok(body));
        }
        if let Some(to) = leads_to.filter(|_| status.is_redirection()) {
            let to: String = to.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(Failure(format!(
                "{self} answers with {status} and leads to {to}; name that server with --server"
            )));
        }
        match serde_json::from_str::<ProblemDetails>(&body) {
            Ok(problem) => Ok(Err(problem)),
            Err(_) => Err(Failure(format!("{self} answers with {status}; is it a portolan?"))),
        }
    }
}

/// `text` as a value in a query string (RFC 3986, 2.3: only the unreserved stand for themselves).
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
            let server = text.parse::<Server>().ok().map(|server| server.to_string());
            assert_eq!(server.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn values_are_encoded_for_a_query() {
        assert_eq!(encoded("*.app.example&a=1 \u{e9}"), "%2A.app.example%26a%3D1%20%C3%A9");
    }

    #[tokio::test]
    async fn it_understands_our_own_answers_and_refusals() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server: Server = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
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
