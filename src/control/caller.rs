//! The sender of a request: its address, its bearer token (RFC 6750), and whether it is a page of another site. A
//! refusal says why, and what to do. It never repeats any part of a token.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::clock;
use crate::config::{Holder, Role, Tokens};
use crate::control::access::{Refusal, WrongTokenLine};
use crate::control::connections::ApiConnection;
use crate::control::overrides::of_zones;
use crate::control::problem::{problem, too_many};
use crate::control::request::ErrorResponse;
use crate::control::state::ApiState;
use crate::source::{Problem, Severity, SideFile};

/// The challenge for a client that sent no token (RFC 9110, 11.6.1).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"portolan\"");
/// The challenge for a client whose token is unknown (RFC 6750, 3.1).
const INVALID: HeaderValue = HeaderValue::from_static("Bearer realm=\"portolan\", error=\"invalid_token\"");

/// The header fields that programs and browsers write in their own requests (RFC 9110 and 9111, the Fetch standard,
/// server-sent events). Proxies add others, each product its own, to name their client, themselves or the request:
/// `Forwarded`, `Via`, `X-Forwarded-For`, `X-Real-IP`, `CF-Connecting-IP`, `True-Client-IP` and many more. So a request
/// with any other field does not prove that a process of this host made it.
const OWN_FIELDS: [&str; 33] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dnt",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "keep-alive",
    "last-event-id",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
];
/// The beginning of further ones, which only browsers can write.
const OF_BROWSERS: &str = "sec-";

/// The sender of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Where its connection comes from.
    pub(super) client: IpAddr,
    /// Whether it is a process of this host.
    is_local: bool,
    headers: HeaderMap,
}

impl Caller {
    /// The sender of a request with this head.
    pub(super) fn of(parts: &Parts) -> Caller {
        let connection = parts.extensions.get::<Arc<ApiConnection>>();
        let client = connection.map_or(Ipv4Addr::UNSPECIFIED.into(), |connection| connection.client);
        let is_local = connection.is_some_and(|connection| connection.is_local);
        Caller { client, is_local, headers: parts.headers.clone() }
    }

    /// The holder of the request's token, if it allows calls that need `need`; else the error response.
    pub(super) fn holder(&self, state: &ApiState, need: Role) -> Result<Holder, ErrorResponse> {
        let access = &*state.controls.access;
        let tokens = access.tokens.load();
        let Some(tokens) = &*tokens else {
            let how = "this call is off, as no token is known: put a line `NAME operate SECRET` into the file that \
                       [api] token_file names (default: `tokens` next to the settings file), with a secret from \
                       `openssl rand -hex 16`";
            return Err(Box::new(problem(StatusCode::FORBIDDEN, format!("{how}{}", unread(state)))));
        };
        let holder = self.known(state, tokens)?;
        if !holder.rights.include(need) {
            access.refusals.count(Refusal::Role);
            let (name, role, need) = (&holder.name, holder.rights.role().as_str(), need.as_str());
            let detail = format!("the token of `{name}` has the role {role}, and this call needs {need}");
            return Err(Box::new(problem(StatusCode::FORBIDDEN, detail)));
        }
        Ok(holder)
    }

    /// Who confirms that zones are removed at once: a process of this host, or the holder of a token for everything.
    /// The text is for the log. A request through a proxy on this host, which adds a field, is none of this host.
    pub(super) fn confirmer(&self, state: &ApiState) -> Result<String, ErrorResponse> {
        let foreign = foreign_field(&self.headers);
        if self.is_local && foreign.is_none() {
            return Ok("a process of this host".to_owned());
        }
        if bearer(&self.headers).is_none() {
            let mut detail = "zones that have disappeared are removed at once only if it is confirmed by a process of \
                              the server's host (`portolan reload --confirm-removal` there) or with a token with the \
                              role operate for all zones: the commands take it from PORTOLAN_TOKEN"
                .to_owned();
            if let Some(field) = foreign.filter(|_| self.is_local) {
                let why = format!("; this request has the header field `{field}`, so it may come through a proxy");
                detail.push_str(&why);
            }
            return Err(unauthorised(&detail, CHALLENGE));
        }
        let holder = self.holder(state, Role::Operate)?;
        match holder.rights.zones() {
            None => Ok(holder.name.to_string()),
            Some(zones) => {
                state.controls.access.refusals.count(Refusal::Role);
                let detail = format!("{}, and a removal that is confirmed is one of all zones", of_zones(zones));
                Err(Box::new(problem(StatusCode::FORBIDDEN, detail)))
            }
        }
    }

    /// Whether the request has a token that is in the file. A wrong one is counted.
    pub(super) fn has_token(&self, state: &ApiState) -> bool {
        let tokens = state.controls.access.tokens.load();
        bearer(&self.headers).is_some() && tokens.as_ref().is_some_and(|tokens| self.known(state, tokens).is_ok())
    }

    /// The holder of the token. A net that has sent wrong tokens must wait, also with a right token, unless nobody can
    /// guess its secret: otherwise a program on the same host, or behind the same NAT, could lock the operators out.
    fn known(&self, state: &ApiState, tokens: &Tokens) -> Result<Holder, ErrorResponse> {
        let access = &*state.controls.access;
        let Some(secret) = bearer(&self.headers) else {
            let detail = "a token is needed: `Authorization: Bearer SECRET`; the commands take it from PORTOLAN_TOKEN";
            return Err(unauthorised(detail, CHALLENGE));
        };
        let now = clock::now();
        let (found, wait) = (tokens.holder(secret), access.wrong_tokens.wait(self.client, now));
        match found {
            Some(holder) if wait.is_zero() || holder.is_unguessable => return Ok(holder.clone()),
            Some(_) => return Err(slowed(wait)),
            None => {}
        }
        access.refusals.count(Refusal::Token);
        let (counted, line) = access.wrong_tokens.add(self.client, now);
        if let Some(WrongTokenLine { net, count }) = line {
            tracing::warn!(%net, count, "HTTP: a token was refused that is not in the token file");
        }
        let detail = || format!("this token is not in the token file{}", unread(state));
        Err(counted.map_or_else(slowed, |()| unauthorised(&detail(), INVALID)))
    }

    /// Refuses a request that a web page of another site sends from its visitor's browser: browsers add an `Origin`.
    pub(super) fn check_origin(&self, state: &ApiState) -> Result<(), ErrorResponse> {
        if is_own_origin(&self.headers) {
            return Ok(());
        }
        state.controls.access.refusals.count(Refusal::Origin);
        Err(Box::new(problem(StatusCode::FORBIDDEN, "a page of another site may not change anything here")))
    }
}

/// Why the last load did not take the file of tokens, to add to a refusal; empty if it did.
fn unread(state: &ApiState) -> String {
    let reload = state.reload.load();
    let is_of_tokens =
        |found: &&Problem| found.severity == Severity::Error && found.side_file == Some(SideFile::Tokens);
    reload
        .problems
        .iter()
        .find(is_of_tokens)
        .map_or_else(String::new, |found| format!("; the file was not taken at the last load: {}", found.message))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Infallible> {
        Ok(Caller::of(parts))
    }
}

/// A header field that is not of a program or browser itself, but perhaps of a proxy.
fn foreign_field(headers: &HeaderMap) -> Option<&HeaderName> {
    let is_own = |name: &str| OWN_FIELDS.contains(&name) || name.starts_with(OF_BROWSERS);
    headers.keys().find(|field| !is_own(field.as_str()))
}

fn unauthorised(detail: &str, challenge: HeaderValue) -> ErrorResponse {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    Box::new(response)
}

fn slowed(wait: Duration) -> ErrorResponse {
    Box::new(too_many("too many wrong tokens came from this address: try again later", wait))
}

/// The secret in `Authorization: Bearer SECRET`. The scheme may be in any case (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ")).then(|| secret.trim_ascii())
}

/// Whether no page of another site sent a request: it has no `Origin`, or one with its own host. The host was checked
/// before: it belongs to this server.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes);
    let Some(origin) = origins.next() else { return true };
    let of_origin = origin.strip_prefix(b"http://").or(origin.strip_prefix(b"https://"));
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    origins.next().is_none()
        && of_origin.zip(host).is_some_and(|(of_origin, host)| of_origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        fields.iter().for_each(|(name, value)| _ = headers.append(name, HeaderValue::from_static(value)));
        headers
    }

    #[test]
    fn a_page_of_another_site_is_refused_and_our_page_and_programs_are_not() {
        let host = (header::HOST, "127.0.0.1:8053");
        for (origins, ok) in [
            (&[][..], true),
            (&["http://127.0.0.1:8053"], true),
            (&["http://127.0.0.1:9000"], false),
            (&["http://evil.example"], false),
            (&["null"], false),
            (&[""], false),
            (&["http://127.0.0.1:8053", "http://evil.example"], false),
        ] {
            let origins = origins.iter().map(|origin| (header::ORIGIN, *origin));
            let sent: Vec<_> = std::iter::once(host.clone()).chain(origins).collect();
            assert_eq!(is_own_origin(&headers(&sent)), ok, "{sent:?}");
        }
        assert!(!is_own_origin(&headers(&[(header::ORIGIN, "http://evil.example")])), "without a host");
        assert!(is_own_origin(&headers(&[(header::ORIGIN, "http://portolan"), (header::HOST, "Portolan")])));
    }

    #[test]
    fn fields_of_proxies_are_foreign_and_those_of_programs_and_browsers_are_not() {
        for field in [
            "Forwarded",
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded",
            "X-Real-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "X-Original-Forwarded-For",
            "X-Envoy-External-Address",
            "X-Azure-ClientIP",
            "X-Amzn-Trace-Id",
            "X-Request-ID",
            "CF-Connecting-IP",
            "CF-Ray",
            "True-Client-IP",
            "Fastly-Client-IP",
            "Client-IP",
            "Proxy-Authorization",
            "Max-Forwards",
        ] {
            let mut sent = headers(&[(header::HOST, "localhost"), (header::ACCEPT, "*/*")]);
            let name = HeaderName::from_bytes(field.as_bytes()).unwrap();
            sent.insert(&name, HeaderValue::from_static(""));
            assert_eq!(foreign_field(&sent), Some(&name));
        }
        let mut sent = headers(&[]);
        for field in ["Host", "User-Agent", "Accept", "Accept-Encoding", "Content-Length", "Content-Type", "Connection"]
            .into_iter()
            .chain(["Sec-Fetch-Site", "Referer", "Priority", "Last-Event-ID", "Authorization", "Origin", "Expect"])
        {
            sent.insert(HeaderName::from_bytes(field.as_bytes()).unwrap(), HeaderValue::from_static("x"));
        }
        assert_eq!(foreign_field(&sent), None);
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for (sent, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("", None),
        ] {
            let headers = headers(&[(header::AUTHORIZATION, sent)]);
            assert_eq!(bearer(&headers), expected.map(str::as_bytes), "{sent}");
        }
    }
}
