//! `http` and `https`: a GET.

use serde_json::{Value as Json, json};

use crate::config::fields::{Fields, mismatch};
use crate::config::keys::{KeyGroup as _, KeyKind as _, WrongText, custom, inline, integer, keys, text, wrong};
use crate::config::monitor::expect::ExpectedPage;
use crate::config::monitor::probing::{Probing, body};
use crate::config::monitor::tls::{Certificate, Host};
use crate::config::monitor::{Definition, Group, PortRule};
use crate::config::node::{Entry, Kind, Node};
use crate::model::monitor::bounds::{MAX_HEADERS, MAX_REDIRECTS, MAX_TEXT};
use crate::model::{HttpSpec, ProbeKind};
use crate::source::{At, Problems};

keys! {
    /// The keys of a request, without `host`.
    Request {
        /// the path of the request
        path: String = text("\"/healthz\"").matching("^/").parsed(path).shown_as(|path| json!(path)),
            default "/".to_owned();
        /// headers of the request: `{ user-agent = "portolan" }`
        headers: Vec<(String, String)> = custom(headers, headers_schema);
        /// the statuses that are a success, 100 to 999; `body = "ok"`: the first 64 KiB must contain this text
        expect: ExpectedPage = inline("{ status = [200], body = \"ok\" }"), inherits json!({ "status": [200] });
        /// how many redirects (301, 302, 303, 307, 308) are followed, up to 10. All of them must fit into the
        /// `timeout`, and are sent to the probed address. A redirect to another scheme, host or port is a failure.
        /// With 0, a 3xx is a status like others: if `expect` doesn't have it, the probe fails, and the reason names
        /// its target
        redirects: u32 = integer(0..=MAX_REDIRECTS.into()), default 0;
    }
}

pub(super) const HTTP: Definition = Definition {
    port: PortRule::Usual(80),
    can_hold: true,
    ..Definition::probe(&[Group::of::<Probing>(), Group::of::<Request>(), Group::of::<Host>()], |fields, problems| {
        let request = request(fields, problems);
        body(fields, Some(ProbeKind::Http(request)), problems)
    })
};

pub(super) const HTTPS: Definition = Definition {
    port: PortRule::Usual(443),
    groups: &[Group::of::<Probing>(), Group::of::<Request>(), Group::of::<Host>(), Group::of::<Certificate>()],
    read: |fields, problems| {
        let request = request(fields, problems);
        let certificate = Certificate::take(fields, problems).rule(0);
        body(fields, Some(ProbeKind::Https(request, certificate)), problems)
    },
    ..HTTP
};

fn request(fields: &mut Fields, problems: &mut Problems) -> HttpSpec {
    let Request { path, headers, expect, redirects, .. } = Request::take(fields, problems);
    let (status, text) = expect.map_or((None, None), |expect| (expect.value.status, expect.value.body));
    HttpSpec {
        path: path.value,
        host: Host::take(fields, problems).host.map(|at| at.value),
        headers: headers.map_or_else(Vec::new, |at| at.value),
        statuses: status.map_or_else(|| vec![200], |list| list.value.iter().map(|status| status.value).collect()),
        body: text.map(|at| at.value),
        redirects: *redirects,
    }
}

fn path(written: &str) -> Result<String, WrongText> {
    let is_plain = written.bytes().all(|byte| byte.is_ascii_graphic());
    if written.starts_with('/') && is_plain && written.len() <= MAX_TEXT {
        return Ok(written.to_owned());
    }
    let hint = "write `path = \"/healthz\"`: it begins with `/`; escape other characters with `%`";
    Err(wrong(format!("\"{written}\" is not the path of a URL"), hint))
}

fn headers_schema() -> Json {
    json!({ "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": MAX_HEADERS })
}

fn headers(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let Kind::Table(entries) = node.kind else {
        return mismatch("headers", "a table", "{ user-agent = \"portolan\" }", (&node.place, &node.kind), problems);
    };
    for Entry { key: name, value } in entries {
        let place = value.place.clone();
        let Some(value) = text("\"VALUE\"").read(&name, value, problems) else { continue };
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let key = name.value.to_ascii_lowercase();
        if key == "host" {
            let problem = problems.error(&name.place, "the Host header has a key of its own");
            problem.hint("write `host = \"...\"` in the monitor");
        } else if key.is_empty() || !key.bytes().all(token) {
            let problem = problems.error(&name.place, format!("\"{key}\" is not the name of a header"));
            problem.hint("write letters, digits and `-`: `headers = { user-agent = \"portolan\" }`");
        } else if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || value.len() > MAX_TEXT {
            let problem = problems.error(&place, format!("the value of `{key}` must be printable ASCII"));
            problem.hint(format!("take out what isn't; at most {MAX_TEXT} characters"));
        } else {
            headers.push((key, value));
        }
    }
    if headers.len() > MAX_HEADERS {
        problems.error(&key.place, format!("more than {MAX_HEADERS} headers"));
    }
    headers.sort();
    Some(headers)
}
