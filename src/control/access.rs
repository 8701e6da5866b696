//! Who may call what: bearer tokens (RFC 6750), and pages of other sites kept out. Says why and what to do; never says
//! anything of a token that was shown.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::config::{Holder, Role};
use crate::control::problem::problem;
use crate::control::state::ApiState;

/// What a client that showed no good token is asked for (RFC 9110, 11.6.1).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"portolan\"");
/// The same to one whose token is not good (RFC 6750, 3.1).
const INVALID: HeaderValue = HeaderValue::from_static("Bearer realm=\"portolan\", error=\"invalid_token\"");

/// Who calls, if that is one who may; else the answer that says so.
pub(super) fn caller(state: &ApiState, headers: &HeaderMap, need: Role) -> Result<Holder, Box<Response>> {
    let refused = |status, detail: &str| Box::new(problem(status, detail));
    let tokens = state.controls.tokens.load();
    let Some(tokens) = &*tokens else {
        let how = "this call is off, as no token is known: put a line `NAME operate SECRET` into the file that \
                   [api] token_file names (default: `tokens` beside the settings), with a secret from `openssl rand -hex 16`";
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

/// The secret in `Authorization: Bearer SECRET`; the scheme in any case (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ")).then(|| secret.trim_ascii())
}

/// Refuses a call that a page of another site makes its visitor's browser send: browsers say where a page is from.
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
    fn a_page_of_another_site_is_told_apart_from_ours_and_from_programs() {
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
