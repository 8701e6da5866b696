//! GETs over HTTP/1.1, or over HTTP/2 where TLS agrees on it (ALPN, RFC 7301): status, and a text in the body's
//! beginning. The verdict stands as soon as the head, or the text, is there; the rest of the response is read in the
//! background, within the probe's time and 256 KiB, so that no server is interrupted. Redirects are followed as far as
//! the monitor says, within what is probed, each on a connection of its own.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};
use tokio::net::TcpStream;
use url::Url;

use crate::clock;
use crate::health::probe::attempt::Turn;
use crate::health::probe::bounded::{BODY_LIMIT, bounded};
use crate::health::probe::http1::Conversation;
use crate::health::probe::polite::{Line, end_in_background};
use crate::health::probe::redirect::{follow, is_redirect, path_of, told};
use crate::health::probe::{Failure, ProbeClients, h2, tcp, tls};
use crate::model::{CertificateRule, HttpSpec, Moment};

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
pub(super) async fn get(
    clients: &ProbeClients,
    site: Site<'_>,
    until: Moment,
    turn: Turn,
) -> Result<Duration, Failure> {
    // What can't be sent is known before anything is.
    site.headers()?;
    let mut path = site.spec.path.clone();
    let (stream, began) = tcp::connect_in_turn(clients, site.to, &turn).await?;
    let (rtt, mut location) = match site.ask(clients, &path, stream, (began, until), &turn).await? {
        Answer::Well(rtt) => return Ok(rtt),
        Answer::Moved(rtt, location) => (rtt, location),
    };
    for _ in 0..site.spec.redirects {
        let here = site.url(&path).ok_or_else(|| Failure::Redirected(format!("redirected to {}", told(&location))))?;
        path = path_of(&follow(&here, &location, site.to.port())?).to_owned();
        let stream = tcp::connect(clients, site.to).await?;
        match site.ask(clients, &path, stream, (began, until), &turn).await? {
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

    /// One GET of `path` on `stream`, which counts from `began`. What is left of the response is read in the
    /// background, until `until`.
    async fn ask(
        &self,
        clients: &ProbeClients,
        path: &str,
        stream: TcpStream,
        (began, until): (Moment, Moment),
        turn: &Turn,
    ) -> Result<Answer, Failure> {
        let stream = Line::new(stream);
        let Some(rule) = self.certificate else {
            return self.ask_http1(stream, path, (began, until), turn).await;
        };
        let host = self.spec.host.as_deref();
        let stream = tls::handshake(clients, host, rule, &[b"h2", b"http/1.1"], self.to, stream).await?;
        // A server that knows no ALPN speaks HTTP/1.1.
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return self.ask_http1(stream, path, (began, until), turn).await;
        }
        let request = self.request(&format!("https://{}{path}", self.authority()))?;
        let read = |response: Response<Incoming>| async move {
            let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
            let judged = judge(self.spec, began, response.status().as_u16(), location);
            let mut body = response.into_body();
            let found = match judged {
                Ok(Judged::Answer(answer)) => Ok(answer),
                Ok(Judged::Search(rtt, mut search)) => {
                    turn.answered();
                    find_in(&mut body, &mut search).await.map(|()| Answer::Well(rtt))
                }
                Err(failure) => Err(failure),
            };
            (found, Some(body))
        };
        h2::ask(bounded(BufWriter::new(stream)), request, until, read).await
    }

    async fn ask_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        path: &str,
        (began, until): (Moment, Moment),
        turn: &Turn,
    ) -> Result<Answer, Failure> {
        let mut talk = Conversation::new(stream);
        let head = match talk.ask(&self.http1_request(path)?).await {
            Ok(head) => head,
            Err(failure) => {
                end_in_background(until, talk.hang_up());
                return Err(failure);
            }
        };
        let found = match judge(self.spec, began, head.status(), head.location()) {
            Ok(Judged::Answer(answer)) => Ok(answer),
            Ok(Judged::Search(rtt, mut search)) => loop {
                turn.answered();
                match talk.part().await {
                    Ok(Some(part)) if search.found_in(&part) => break Ok(Answer::Well(rtt)),
                    Ok(Some(_)) if !search.is_over() => {}
                    Ok(_) => break search.end().map(|()| Answer::Well(rtt)),
                    Err(failure) => break Err(failure),
                }
            },
            Err(failure) => Err(failure),
        };
        end_in_background(until, talk.finish());
        found
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

/// What the head of a response comes to.
enum Judged<'a> {
    /// The verdict.
    Answer(Answer),
    /// The body decides; the time to the head.
    Search(Duration, Search<'a>),
}

/// A status that is expected counts as it is, a redirect too. Unless a text is expected, the head is the verdict: a
/// body that is slow or breaks off changes nothing.
fn judge<'a>(spec: &'a HttpSpec, began: Moment, got: u16, location: Option<&[u8]>) -> Result<Judged<'a>, Failure> {
    let rtt = clock::now().since(began);
    if spec.statuses.contains(&got) {
        return Ok(match &spec.body {
            Some(text) => Judged::Search(rtt, Search { text, seen: Vec::new() }),
            None => Judged::Answer(Answer::Well(rtt)),
        });
    }
    match location.filter(|_| is_redirect(got)).map(|location| String::from_utf8_lossy(location).into_owned()) {
        Some(location) if spec.redirects > 0 => Ok(Judged::Answer(Answer::Moved(rtt, location))),
        location => {
            let to = location.as_deref().map(told);
            Err(Failure::Status { got, expected: spec.statuses.clone(), to })
        }
    }
}

/// Looks for a text in the beginning of a body, no further than to its end: so an endless body that begins well is a
/// good one.
struct Search<'a> {
    text: &'a str,
    seen: Vec<u8>,
}

impl Search<'_> {
    /// Whether the text ends in this part.
    fn found_in(&mut self, part: &[u8]) -> bool {
        let wanted = self.text.as_bytes();
        let fresh = self.seen.len();
        self.seen.extend(part.iter().take(BODY_LIMIT - fresh));
        let from = fresh.saturating_sub(wanted.len().saturating_sub(1));
        self.seen.get(from..).is_some_and(|part| contains(part, wanted))
    }

    /// Whether there is nothing more to look at.
    fn is_over(&self) -> bool {
        self.seen.len() == BODY_LIMIT
    }

    /// What it comes to when the text was not found.
    fn end(&self) -> Result<(), Failure> {
        if self.text.is_empty() { Ok(()) } else { Err(Failure::Body { lacks: self.text.to_owned() }) }
    }
}

async fn find_in(body: &mut Incoming, search: &mut Search<'_>) -> Result<(), Failure> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| h2::explain(&error))?.into_data() else { continue };
        if search.found_in(&data) {
            return Ok(());
        }
        if search.is_over() {
            break;
        }
    }
    search.end()
}

fn contains(part: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || part.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_before_the_request_was_on_its_way_is_told_as_one() {
        let (ours, theirs) = tokio::io::duplex(64);
        drop(theirs);
        let request = Request::new(Empty::new());
        assert_eq!(Conversation::new(ours).ask(&request).await.err(), Some(Failure::Closed));
    }
}
