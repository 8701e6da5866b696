//! The routes of the HTTP API, and the handlers that only read: each reads the state, builds plain data and writes
//! it. Other files of `control` have the handlers that change something.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;

use crate::clock;
use crate::control::caller::Caller;
use crate::control::explain::{Client, ExplainError, explain};
use crate::control::json::{self, Json};
use crate::control::problem::problem;
use crate::control::serve::ApiRoutes;
use crate::control::server::ServerReport;
use crate::control::state::{ApiState, Readiness};
use crate::control::{
    drill, events, failback, gate, heartbeat, history, names, operate, page, request_log, simulate, status,
};
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

/// All routes of the API, over `state`.
pub fn router(state: ApiState) -> ApiRoutes {
    let (room, access) = (state.room.clone(), state.controls.access.clone());
    let router = Router::new()
        .route("/", get(page::index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status_json))
        .route("/v1/transitions", get(transitions))
        .route("/v1/explain", get(explain_json))
        .route("/v1/simulate", post(simulate::respond))
        .route("/v1/names", get(names::respond))
        .route("/v1/history", get(history::respond::respond))
        .route("/v1/events", get(follow_events))
        .route("/v1/overrides", get(operate::list).put(operate::put_all).delete(operate::clear_all))
        .route("/v1/overrides/{*target}", put(operate::put).delete(operate::clear))
        .route("/v1/failback/{name}", post(failback::respond::respond))
        .route("/v1/drill", get(drill::show).post(drill::begin).delete(drill::stop))
        .route("/v1/drill/{id}", put(drill::renew))
        .route("/v1/heartbeat/{endpoint}", put(heartbeat::put).delete(heartbeat::goodbye))
        .route("/v1/reload", post(operate::reload))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), gate::limit_rate))
        .layer(middleware::from_fn_with_state(state.clone(), gate::check_host))
        .layer(middleware::from_fn_with_state(state.clone(), gate::reserve_octets))
        .layer(middleware::map_response(guard))
        .layer(middleware::from_fn(request_log::log))
        .with_state(state);
    ApiRoutes { router, room, access }
}

async fn healthz() -> Response {
    (StatusCode::OK, "ok: the process runs and answers HTTP\n").into_response()
}

async fn readyz(Shared(state): Shared<ApiState>) -> Response {
    let readiness = *state.readiness.borrow();
    match readiness {
        Readiness::Starting => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting: the first probe round has not ended\n").into_response()
        }
        Readiness::Serving => {
            let generation = state.snapshots.load().generation;
            (StatusCode::OK, format!("ok: answering queries with generation {generation}\n")).into_response()
        }
        Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping: no new queries\n").into_response(),
    }
}

async fn metrics(Shared(state): Shared<ApiState>) -> Response {
    let own = state.clone();
    let text = state.texts.metrics.result(&state.costly, move || Bytes::from((own.metrics)(&own.names))).await;
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => *error,
    }
}

async fn status_json(Shared(state): Shared<ApiState>) -> Response {
    let own = state.clone();
    let text = move || {
        let now = clock::now();
        let mut status = status::status(&own.snapshots.load_full(), &own.reload.load(), now);
        status.complete(&own.controls.disk, own.controls.spread.as_ref(), now);
        status.fleet = own.fleet.as_ref().map(|read| read());
        status.server = Some(server_report(&own, now));
        status.drill = own.controls.drill.running().as_deref().cloned();
        json::octets(&status)
    };
    match state.texts.status.result(&state.costly, text).await {
        Ok(text) => json::with_type(text),
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
async fn transitions(Shared(state): Shared<ApiState>) -> Response {
    Json(state.journal.newest_first()).into_response()
}

async fn follow_events(
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    name: String,
    #[serde(rename = "type", default)]
    rtype: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    region: String,
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

async fn explain_json(
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
        explain(&state.snapshots.load(), query.name.trim(), rtype, client, clock::now())
            .map(|found| json::octets(&found))
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

async fn not_found(uri: Uri) -> Response {
    let detail = format!(
        "nothing at {}; there are /, /healthz, /readyz, /metrics, /v1/status, /v1/names, /v1/history, \
         /v1/explain, /v1/events, /v1/overrides, /v1/failback/NAME, /v1/heartbeat/ENDPOINT, /v1/reload, \
         /v1/drill and /v1/simulate",
        uri.path()
    );
    problem(StatusCode::NOT_FOUND, detail)
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = format!(
        "{} is not allowed for {}; the Allow header lists the methods that are",
        request.method(),
        request.uri().path()
    );
    problem(StatusCode::METHOD_NOT_ALLOWED, detail)
}

async fn guard(mut response: Response) -> Response {
    for (name, value) in GUARDS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}
