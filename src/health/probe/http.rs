//! The http and https probes: a GET over HTTP/1.1, or over HTTP/2 if the server selects it in the TLS handshake (ALPN,
//! RFC 7301). They check the status and, if the monitor expects one, a text at the beginning of the body.
//!
//! The result is known as soon as the head, or the text, was read. The rest of the response is read in the background,
//! at most 256 KiB and until the time-out of the probe, so that the server is not interrupted. Redirects are followed
//! as often as the monitor allows, only to the probed endpoint, each on a connection of its own.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};
use tokio::net::TcpStream;
use url::Url;

use crate::clock;
use crate::health::probe::attempt::RequestPermit;
use crate::health::probe::body::{ResponseBody, find_text};
use crate::health::probe::bounded::bounded;
use crate::health::probe::closing::{ProbeStream, close_in_background};
use crate::health::probe::http1::Http1Exchange;
use crate::health::probe::redirect::{follow, is_redirect, path_of, printable_location};
use crate::health::probe::{Failure, ProbeClients, h2, tcp, tls};
use crate::model::{CertificateRule, HttpSpec, Moment};

/// The user agent, unless the monitor's headers set another.
pub(super) const AGENT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));

/// What is requested from where. With a rule for the certificate, the request goes over TLS.
#[derive(Clone, Copy)]
pub(super) struct HttpTarget<'a> {
    pub(super) spec: &'a HttpSpec,
    pub(super) certificate: Option<CertificateRule>,
    pub(super) to: SocketAddr,
}

/// The result of one GET that is not a failure.
enum GetResult {
    /// The response is as expected. The time to its head.
    Success(Duration),
    /// A redirect that the monitor wants to be followed. The time to the head, and the location.
    Redirect(Duration, String),
}

/// Probes `target`. Returns the time from the beginning of the first connection to the head of the first response, with
/// the handshakes.
pub(super) async fn probe(
    clients: &ProbeClients,
    target: HttpTarget<'_>,
    until: Moment,
    permit: RequestPermit,
) -> Result<Duration, Failure> {
    // The request is made when there is a connection: its headers may be long, and many endpoints refuse.
    let mut path = target.spec.path.clone();
    let (stream, began) = tcp::connect_for_request(clients, target.to, &permit).await?;
    let (rtt, mut location) = match target.get(clients, &path, stream, (began, until), &permit).await? {
        GetResult::Success(rtt) => return Ok(rtt),
        GetResult::Redirect(rtt, location) => (rtt, location),
    };
    let redirected = |location: &str| format!("redirected to {}", printable_location(location));
    for _ in 0..target.spec.redirects {
        let here = target.url(&path).ok_or_else(|| Failure::Redirected(redirected(&location)))?;
        path = path_of(&follow(&here, &location, target.to.port())?).to_owned();
        let stream = tcp::connect(clients, target.to).await?;
        match target.get(clients, &path, stream, (began, until), &permit).await? {
            GetResult::Success(_) => return Ok(rtt),
            GetResult::Redirect(_, next) => location = next,
        }
    }
    let count = match target.spec.redirects {
        1 => "1 redirect".to_owned(),
        many => format!("{many} redirects"),
    };
    Err(Failure::Redirected(format!("{} after {count}", redirected(&location))))
}

impl HttpTarget<'_> {
    /// The host, and the port if it is not the default of the scheme (RFC 9110, 7.2).
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

    /// The URL of `path` at this target.
    fn url(&self, path: &str) -> Option<Url> {
        Url::parse(&format!("{}://{}{path}", self.scheme(), self.authority())).ok()
    }

    /// The headers of every request, without the host: HTTP/2 sends it in another way.
    fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in &self.spec.headers {
            let name: HeaderName = name.parse().map_err(|_| cannot_send(name))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| cannot_send(value))?);
        }
        Ok(headers)
    }

    fn request(&self, uri: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.parse().map_err(|_| cannot_send(uri))?;
        *request.headers_mut() = self.headers()?;
        Ok(request)
    }

    /// Sends one GET of `path` on `stream`. The round trip is counted from `began`. The rest of the response is read in
    /// the background, until `until`.
    async fn get(
        &self,
        clients: &ProbeClients,
        path: &str,
        stream: TcpStream,
        (began, until): (Moment, Moment),
        permit: &RequestPermit,
    ) -> Result<GetResult, Failure> {
        let stream = ProbeStream::new(stream);
        let Some(rule) = self.certificate else {
            return self.get_over_http1(stream, path, (began, until), permit).await;
        };
        let host = self.spec.host.as_deref();
        let stream = tls::handshake(clients, host, rule, &[b"h2", b"http/1.1"], self.to, stream).await?;
        // A server that does not support ALPN speaks HTTP/1.1.
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return self.get_over_http1(stream, path, (began, until), permit).await;
        }
        let request = self.request(&format!("https://{}{path}", self.authority()))?;
        let read = |response: Response<Incoming>| async move {
            let (head, mut body) = response.into_parts();
            let location = head.headers.get(LOCATION).map(HeaderValue::as_bytes);
            let result = self.judge((head.status.as_u16(), location), began, &mut body, permit).await;
            (result, Some(body))
        };
        h2::exchange(bounded(BufWriter::new(stream)), request, until, read).await
    }

    async fn get_over_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        path: &str,
        (began, until): (Moment, Moment),
        permit: &RequestPermit,
    ) -> Result<GetResult, Failure> {
        let mut exchange = Http1Exchange::new(stream);
        let head = match exchange.send(&self.http1_request(path)?).await {
            Ok(head) => head,
            Err(failure) => {
                close_in_background(until, exchange.close_after_garbage());
                return Err(failure);
            }
        };
        let result = self.judge((head.status(), head.location()), began, &mut exchange, permit).await;
        close_in_background(until, exchange.read_rest_and_close());
        result
    }

    fn http1_request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = self.request(path)?;
        let authority = self.authority();
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|_| cannot_send(&authority))?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    /// Judges a response by its status, and by its body if the monitor expects a text. A redirect with an expected
    /// status is a success. Without an expected text the body has no influence, even if it is slow or incomplete.
    async fn judge(
        &self,
        (status, location): (u16, Option<&[u8]>),
        began: Moment,
        body: &mut impl ResponseBody,
        permit: &RequestPermit,
    ) -> Result<GetResult, Failure> {
        let rtt = clock::now().since(began);
        if self.spec.statuses.contains(&status) {
            if let Some(text) = &self.spec.body {
                permit.answer_began();
                find_text(body, text).await?;
            }
            return Ok(GetResult::Success(rtt));
        }
        match location.filter(|_| is_redirect(status)).map(|location| String::from_utf8_lossy(location).into_owned()) {
            Some(location) if self.spec.redirects > 0 => Ok(GetResult::Redirect(rtt, location)),
            location => {
                let to = location.as_deref().map(printable_location);
                Err(Failure::Status { got: status, expected: self.spec.statuses.clone(), to })
            }
        }
    }
}

fn cannot_send(what: &str) -> Failure {
    Failure::Vantage(format!("cannot send {what:?} in an HTTP request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_before_the_request_was_sent_is_reported_as_one() {
        let (ours, theirs) = tokio::io::duplex(64);
        drop(theirs);
        let request = Request::new(Empty::new());
        assert_eq!(Http1Exchange::new(ours).send(&request).await.err(), Some(Failure::Closed));
    }
}
