//! The handlers of the HTTP API that only read: each reads the state, builds plain data and writes
//! it. Other files of `control` have the handlers that change something.

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::clock;
use crate::control::caller::Caller;
use crate::control::compression::{Coding, mark};
use crate::control::explain::{Client, ExplainError, explain};
use crate::control::idle::idle;
use crate::control::json::{self, Json};
use crate::control::openapi::routes::ApiRoute;
use crate::control::openapi::schemas::{address, one_of};
use crate::control::problem::problem;
use crate::control::server::ServerReport;
use crate::control::state::{ApiState, Readiness};
use crate::control::{events, status};
use crate::model::Moment;

/// The media type of Prometheus text (exposition format 0.0.4).
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Headers of every response. The page has a policy of its own. No other page may frame anything, and no browser may
/// guess a content type.
const GUARDS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

pub(super) async fn healthz() -> Response {
    (StatusCode::OK, "ok: the process runs and answers HTTP\n").into_response()
}

pub(super) async fn readyz(Shared(state): Shared<ApiState>) -> Response {
    let readiness = *state.readiness.borrow();
    match readiness {
        Readiness::Starting => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting: the first probe round has not ended\n").into_response()
        }
        Readiness::Serving if state.controls.commands.is_none() => {
            (StatusCode::OK, "ok: a vantage, which probes and reports\n").into_response()
        }
        Readiness::Serving => {
            let generation = state.snapshots.load().generation;
            (StatusCode::OK, format!("ok: answering queries with generation {generation}\n")).into_response()
        }
        Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping: no new queries\n").into_response(),
    }
}

pub(super) async fn metrics(Shared(state): Shared<ApiState>, headers: HeaderMap) -> Response {
    let (own, coding) = (state.clone(), Coding::accepted(&headers));
    let text = move || Bytes::from((own.metrics)(&own.names));
    match state.texts.metrics.result(&state.costly, coding, text).await {
        Ok(text) => mark(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(), coding),
        Err(error) => *error,
    }
}

pub(super) async fn status_json(Shared(state): Shared<ApiState>, headers: HeaderMap) -> Response {
    let (own, coding) = (state.clone(), Coding::accepted(&headers));
    let text = move || {
        let now = clock::now();
        let snapshot = own.snapshots.load_full();
        let mut status = status::status(&snapshot, &own.reload.load(), now);
        own.add_feeds(&mut status, &snapshot.model, now);
        status.idle_overrides = idle(&own.controls.book.load(), &snapshot.model, &snapshot.view);
        status.complete(&own.controls.disk, own.controls.spread.as_ref(), now);
        status.fleet = own.fleet.as_ref().map(|read| read());
        status.server = Some(server_report(&own, now));
        status.drill = own.controls.drill.running().as_deref().cloned();
        json::octets(&status)
    };
    match state.texts.status.result(&state.costly, coding, text).await {
        Ok(text) => mark(json::with_type(text), coding),
        Err(error) => *error,
    }
}

fn server_report(state: &ApiState, now: Moment) -> ServerReport {
    let (began, started) = state.began;
    ServerReport {
        node: state.journal.node().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: clock::unix_seconds(),
        started,
        uptime_s: now.since(began).as_secs(),
        traffic: state.history.traffic(),
    }
}

/// The last transitions, newest first, for a client that did not subscribe to `/v1/events`.
pub(super) async fn transitions(Shared(state): Shared<ApiState>) -> Response {
    Json(state.journal.newest_first()).into_response()
}

pub(super) async fn follow_events(
    Shared(state): Shared<ApiState>,
    caller: Caller,
    query: Result<Query<events::EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    match query {
        Ok(Query(query)) => events::respond(&state, caller.client, &headers, &query),
        Err(error) => {
            let why = error.body_text();
            problem(StatusCode::BAD_REQUEST, format!("expected ?since=, follow=false or fleet=true; {why}"))
        }
    }
}

/// The query of `/v1/explain`. An empty value means the same as an absent one, because HTML forms send empty values.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    /// The steered name, such as `www.svc.example`.
    #[param(pattern = r"^([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$", max_length = 253)]
    name: String,
    #[serde(rename = "type", default)]
    #[param(schema_with = types)]
    rtype: String,
    #[serde(default)]
    #[param(schema_with = client)]
    client: String,
    /// In place of an address: any client of this region.
    #[serde(default)]
    region: String,
}

fn types() -> utoipa::openapi::Schema {
    one_of(
        "The type of the query; default: the first type of the name",
        ["", "A", "AAAA", "CNAME", "SRV", "HTTPS", "SVCB"],
    )
}

fn client() -> utoipa::openapi::Schema {
    address("The address of a client")
}

impl ExplainQuery {
    fn client(&self) -> Result<Client<'_>, String> {
        match (self.client.trim(), self.region.trim()) {
            ("", "") => Ok(Client::Unlocated),
            ("", region) => Ok(Client::Region(region)),
            (ip, "") => match ip.parse() {
                Ok(ip) => Ok(Client::Address(ip)),
                Err(_) => Err(format!("client is an IP address, such as 192.0.2.1; found `{ip}`")),
            },
            (_, _) => Err("client and region exclude each other: give one".to_owned()),
        }
    }
}

pub(super) async fn explain_json(
    Shared(state): Shared<ApiState>,
    caller: Caller,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => {
            let why = error.body_text();
            return problem(StatusCode::BAD_REQUEST, format!("expected ?name=&type=&client= or &region=; {why}"));
        }
    };
    if let Err(why) = query.client() {
        return problem(StatusCode::BAD_REQUEST, why);
    }
    let share = match state.costly.share(caller.client) {
        Ok(share) => share,
        Err(error) => return *error,
    };
    let explained = state.costly.run(move || {
        // Until the work has ended, also if the client goes away.
        let _share = share;
        let client = query.client().unwrap_or(Client::Unlocated);
        let rtype = Some(query.rtype.trim()).filter(|rtype| !rtype.is_empty());
        explain(&state.snapshots.load(), query.name.trim(), rtype, client, clock::now()).map(|mut found| {
            found.add_lists(&state.sources, clock::now());
            json::octets(&found)
        })
    });
    match explained.await {
        Ok(Ok(explanation)) => json::with_type(explanation),
        Ok(Err(error)) => problem(status_of(&error), error.to_string()),
        Err(error) => *error,
    }
}

fn status_of(error: &ExplainError) -> StatusCode {
    match error {
        ExplainError::NotSteered(_) => StatusCode::NOT_FOUND,
        ExplainError::BadName(_) | ExplainError::UnsupportedType(_) | ExplainError::UnknownRegion(_, _) => {
            StatusCode::BAD_REQUEST
        }
    }
}

pub(super) async fn not_found(uri: Uri) -> Response {
    let paths: Vec<String> = ApiRoute::ALL.iter().map(|route| route.shown()).collect();
    problem(StatusCode::NOT_FOUND, format!("nothing at {}; there are {}", uri.path(), paths.join(", ")))
}

pub(super) async fn method_not_allowed(request: Request) -> Response {
    let detail = format!(
        "{} is not allowed for {}; the Allow header lists the methods that are",
        request.method(),
        request.uri().path()
    );
    problem(StatusCode::METHOD_NOT_ALLOWED, detail)
}

pub(super) async fn guard(mut response: Response) -> Response {
    for (name, value) in GUARDS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}
