//! Who may make which call: bearer tokens (RFC 6750), and a check that refuses web pages of other sites. A refusal
//! says why, and what to do. It never repeats any part of a token.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::config::{Holder, Role};
use crate::control::problem::problem;
use crate::control::state::ApiState;

/// The challenge for a client that sent no token (RFC 9110, 11.6.1).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"portolan\"");
/// The challenge for a client whose token is unknown (RFC 6750, 3.1).
const INVALID: HeaderValue = HeaderValue::from_static("Bearer realm=\"portolan\", error=\"invalid_token\"");

/// The holder of the request's token, if its role is at least `need`; else the error response.
pub(super) fn caller(state: &ApiState, headers: &HeaderMap, need: Role) -> Result<Holder, Box<Response>> {
    let refused = |status, detail: &str| Box::new(problem(status, detail));
    let tokens = state.controls.tokens.load();
    let Some(tokens) = &*tokens else {
        let how = "this call is off, as no token is known: put a line `NAME operate SECRET` into the file that \
                   [api] token_file names (default: `tokens` next to the settings file), with a secret from \
                   `openssl rand -hex 16`";
        return Err(refused(StatusCode::FORBIDDEN, how));
    };
    let unauthorised = |detail, challenge: HeaderValue| {
        let mut response = problem(StatusCode::UNAUTHORIZED, detail);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Box::new(response)
    };
    let Some(secret) = bearer(headers) else {
        let detail = "a token is needed: `Authorization: Bearer SECRET`; the commands take it from PORTOLAN_TOKEN";
        return Err(unauthorised(detail, CHALLENGE));
    };
    match tokens.holder(secret) {
        None => Err(unauthorised("this token is not in the token file", INVALID)),
        Some(holder) if holder.role < need => {
            let Holder { name, role, .. } = holder;
            let (role, need) = (role.as_str(), need.as_str());
            let detail = format!("the token of `{name}` has the role {role}, and this call needs {need}");
            Err(refused(StatusCode::FORBIDDEN, &detail))
        }
        Some(holder) => Ok(holder.clone()),
    }
}

/// The secret in `Authorization: Bearer SECRET`. The scheme may be in any case (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ")).then(|| secret.trim_ascii())
}

/// Refuses a request that a web page of another site sends from its visitor's browser: browsers add an `Origin`.
pub(super) fn same_origin(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let of_origin = origin.as_bytes().strip_prefix(b"http://").or(origin.as_bytes().strip_prefix(b"https://"));
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    match of_origin.is_some() && of_origin == host {
        true => Ok(()),
        false => Err(Box::new(problem(StatusCode::FORBIDDEN, "a page of another site may not change anything here"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_page_of_another_site_is_refused_and_our_page_and_programs_are_not() {
        let host = (header::HOST, "127.0.0.1:8053");
        for (origin, ok) in [
            (None, true),
            (Some("http://127.0.0.1:8053"), true),
            (Some("http://127.0.0.1:9000"), false),
            (Some("http://evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            let origin = origin.map(|origin| (header::ORIGIN, origin));
            let sent: Vec<_> = [Some(host.clone()), origin.clone()].into_iter().flatten().collect();
            assert_eq!(same_origin(&headers(&sent)).is_ok(), ok, "{origin:?}");
        }
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
