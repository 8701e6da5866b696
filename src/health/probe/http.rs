//! GETs over HTTP/1.1, or over HTTP/2 where TLS agrees on it (ALPN, RFC 7301): status, and a text in the body's
//! beginning. Redirects are followed as far as the monitor says, within what is probed, each on a connection of its own.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use tokio::io::BufWriter;
use tokio::net::TcpStream;
use url::Url;

use crate::clock;
use crate::health::probe::attempt::Turn;
use crate::health::probe::bounded::bounded;
use crate::health::probe::redirect::{follow, is_redirect, path_of, told};
use crate::health::probe::{Failure, ProbeClients, h2, tcp, tls};
use crate::model::{CertificateRule, HttpSpec, Moment};

/// Looked at for the expected text (CONTRACT 3).
pub(super) const BODY_LIMIT: usize = 64 * 1024;
/// Longest response head. Judgment: eight times what common servers allow a request's.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;
/// Unless the monitor's headers say otherwise.
pub(super) const AGENT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));

/// What is asked and where: over TLS where there is a rule for the certificate.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) spec: &'a HttpSpec,
    pub(super) certificate: Option<CertificateRule>,
    pub(super) to: SocketAddr,
}

/// What came of one GET that is no failure.
enum Answer {
    /// As expected; the time to the head of the response.
    Well(Duration),
    /// What is asked for is elsewhere, and the monitor wants that to be looked at.
    Moved(Duration, String),
}

/// Asks; gives the time from connecting to the head of the first response, the handshakes within.
pub(super) async fn get(clients: &ProbeClients, site: Site<'_>, turn: Turn) -> Result<Duration, Failure> {
    // What can't be sent is known before anything is.
    site.headers()?;
    let mut path = site.spec.path.clone();
    let began = clock::now();
    let stream = tcp::connect(clients, site.to).await?;
    let began = turn.wait(began).await;
    let (rtt, mut location) = match site.ask(clients, &path, stream, began).await? {
        Answer::Well(rtt) => return Ok(rtt),
        Answer::Moved(rtt, location) => (rtt, location),
    };
    for _ in 0..site.spec.redirects {
        let here = site.url(&path).ok_or_else(|| Failure::Redirected(format!("redirected to {}", told(&location))))?;
        path = path_of(&follow(&here, &location, site.to.port())?).to_owned();
        let stream = tcp::connect(clients, site.to).await?;
        match site.ask(clients, &path, stream, began).await? {
            Answer::Well(_) => return Ok(rtt),
            Answer::Moved(_, further) => location = further,
        }
    }
    let many = match site.spec.redirects {
        1 => "1 redirect".to_owned(),
        many => format!("{many} redirects"),
    };
    Err(Failure::Redirected(format!("redirected to {} after {many}", told(&location))))
}

impl Site<'_> {
    /// The host, with the port only where it is not the scheme's own (RFC 9110, 7.2).
    fn authority(&self) -> String {
        let scheme_port = if self.certificate.is_some() { 443 } else { 80 };
        match &self.spec.host {
            Some(host) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]"),
            Some(host) => host.clone(),
            None if self.to.port() != scheme_port => self.to.to_string(),
            None if self.to.is_ipv6() => format!("[{}]", self.to.ip()),
            None => self.to.ip().to_string(),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// `path` as this server knows it.
    fn url(&self, path: &str) -> Option<Url> {
        Url::parse(&format!("{}://{}{path}", self.scheme(), self.authority())).ok()
    }

    /// The headers of every request; the host is apart, HTTP/2 has another place for it.
    fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in &self.spec.headers {
            let name: HeaderName = name.parse().map_err(|_| unusable(name))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| unusable(value))?);
        }
        Ok(headers)
    }

    fn request(&self, uri: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.parse().map_err(|_| unusable(uri))?;
        *request.headers_mut() = self.headers()?;
        Ok(request)
    }

    /// One GET of `path` on `stream`, which counts from `began`.
    async fn ask(
        &self,
        clients: &ProbeClients,
        path: &str,
        stream: TcpStream,
        began: Moment,
    ) -> Result<Answer, Failure> {
        let read = |response| judge(self.spec, began, response);
        let Some(rule) = self.certificate else {
            return ask_http1(bounded(stream), self.http1_request(path)?, read).await;
        };
        let host = self.spec.host.as_deref();
        let stream = tls::handshake(clients, host, rule, &[b"h2", b"http/1.1"], self.to, stream).await?;
        // A server that knows no ALPN speaks HTTP/1.1.
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return ask_http1(bounded(stream), self.http1_request(path)?, read).await;
        }
        let request = self.request(&format!("https://{}{path}", self.authority()))?;
        h2::ask(bounded(BufWriter::new(stream)), request, read).await
    }

    fn http1_request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = self.request(path)?;
        let authority = self.authority();
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|_| unusable(&authority))?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }
}

fn unusable(what: &str) -> Failure {
    Failure::Vantage(format!("cannot send {what:?} in an HTTP request"))
}

async fn ask_http1<T, F: Future<Output = Result<T, Failure>>>(
    stream: impl Read + Write + Unpin,
    request: Request<Empty<Bytes>>,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, Failure> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(stream).await.map_err(|error| explain(&error))?;
    let talk = async move { read(sender.send_request(request).await.map_err(|error| explain(&error))?).await };
    let (mut talk, mut connection) = (pin!(talk), pin!(connection));
    tokio::select! {
        biased;
        found = &mut talk => found,
        // The connection has ended: what it brought is still to be read.
        _ = &mut connection => talk.await,
    }
}

/// A status that is expected counts as it is, a redirect too.
async fn judge(spec: &HttpSpec, began: Moment, response: Response<Incoming>) -> Result<Answer, Failure> {
    let rtt = clock::now().since(began);
    let got = response.status().as_u16();
    if spec.statuses.contains(&got) {
        if let Some(text) = &spec.body {
            find(text, response.into_body()).await?;
        }
        return Ok(Answer::Well(rtt));
    }
    let location = response.headers().get(LOCATION).filter(|_| is_redirect(got));
    match location.map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned()) {
        Some(location) if spec.redirects > 0 => Ok(Answer::Moved(rtt, location)),
        location => {
            let to = location.as_deref().map(told);
            Err(Failure::Status { got, expected: spec.statuses.clone(), to })
        }
    }
}

/// Reads no further than to the end of `text`, so an endless body that begins well is a good one.
async fn find(text: &str, mut body: Incoming) -> Result<(), Failure> {
    let wanted = text.as_bytes();
    let mut seen: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| explain(&error))?.into_data() else { continue };
        let fresh = seen.len();
        seen.extend(data.iter().take(BODY_LIMIT - fresh));
        let from = fresh.saturating_sub(wanted.len().saturating_sub(1));
        if seen.get(from..).is_some_and(|part| contains(part, wanted)) {
            return Ok(());
        }
        if seen.len() == BODY_LIMIT {
            break;
        }
    }
    if wanted.is_empty() { Ok(()) } else { Err(Failure::Body { lacks: text.to_owned() }) }
}

fn contains(part: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || part.windows(wanted.len()).any(|window| window == wanted)
}

/// What went wrong on a connection that stood: never this host's trouble.
pub(super) fn explain(error: &hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        return Failure::Garbage(format!("response head over {} KiB", HEAD_LIMIT / 1024));
    }
    if error.is_parse() {
        return Failure::Garbage(format!("not HTTP: {error}"));
    }
    if error.is_incomplete_message() {
        return Failure::Closed;
    }
    // The connection ended before the request was on its way: what ended it is within, if anything did but its end.
    if error.is_canceled() {
        return error
            .source()
            .and_then(|source| source.downcast_ref::<hyper::Error>())
            .map_or(Failure::Closed, explain);
    }
    match error.source().and_then(cause).map(Failure::from_io) {
        Some(known) if known.is_evidence() => known,
        Some(_) | None => Failure::Garbage(format!("HTTP failed: {}", deepest(error))),
    }
}

/// The error of the socket below it, if it is one.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref().or_else(|| cause(error.source()?))
}

fn deepest(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => deepest(source),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_before_the_request_was_on_its_way_is_told_as_one() {
        let (ours, theirs) = tokio::io::duplex(64);
        drop(theirs);
        let found = ask_http1(bounded(ours), Request::new(Empty::new()), |_| async { Ok(()) }).await;
        assert_eq!(found, Err(Failure::Closed));
    }
}
