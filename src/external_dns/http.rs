//! The webhook protocol over HTTP: `GET /` negotiates, `GET` and `POST /records`, `POST /adjustendpoints`, and
//! `GET /healthz`. A cluster with a name has the same paths below `/clusters/NAME`.
//!
//! external-dns retries after a status of 500 or more, and ends after one of 400 to 499: so a wrong request gets 4xx,
//! and trouble with the files 503. It has no tokens, but Go's client sends a user and a password that are in its URL.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64;
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::external_dns::adjust::shown;
use crate::external_dns::book::listed;
use crate::external_dns::provider::{Provider, ProviderError, ProviderHealth};
use crate::external_dns::record::{DnsRecord, MEDIA_TYPE, RecordChanges};

/// Largest body of a request in octets (judgment: the most records, with labels of usual length).
const MAX_BODY: usize = 32 << 20;
/// A body must arrive within this time (judgment: the largest one over 10 Mbit/s).
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests with a body that are served at a time, so that bodies take a bounded amount of memory. Others wait.
const MAX_BODIES: usize = 2;

/// Who may send requests for which cluster, and what is done with them.
#[derive(Debug, Clone)]
pub(super) struct Api {
    /// Locked by one request at a time: external-dns sends one after the other.
    provider: Arc<Mutex<Provider>>,
    /// The clusters; the one of the path `/` has no name.
    clusters: Arc<[String]>,
    /// The password of each cluster. `None`: none is needed.
    passwords: Option<Arc<BTreeMap<String, String>>>,
    bodies: Arc<Semaphore>,
    /// As it was after the last request: a probe of the kubelet must not wait for one that takes long.
    health: Arc<Mutex<ProviderHealth>>,
}

impl Api {
    pub(super) fn new(provider: Provider, clusters: Arc<[String]>, passwords: Option<BTreeMap<String, String>>) -> Api {
        let health = Arc::new(Mutex::new(provider.health()));
        let provider = Arc::new(Mutex::new(provider));
        Api {
            provider,
            clusters,
            passwords: passwords.map(Arc::new),
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            health,
        }
    }

    /// Runs on a thread of its own: files are read and written.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Provider) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, Response> {
        let (provider, health) = (self.provider.clone(), self.health.clone());
        let done = spawn_blocking(move || {
            let mut provider = provider.lock().unwrap_or_else(PoisonError::into_inner);
            let done = work(&mut provider);
            *health.lock().unwrap_or_else(PoisonError::into_inner) = provider.health();
            done
        });
        match done.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(ProviderError::Refused(why))) => Err(refusal(StatusCode::BAD_REQUEST, &why)),
            Ok(Err(ProviderError::Unavailable(why))) => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, &why)),
            Err(_) => Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, "the request failed: see the log")),
        }
    }
}

/// What `GET /` responds: the names for which external-dns should send records.
#[derive(Serialize)]
struct DomainFilter {
    include: Vec<String>,
}

/// The routes.
pub(super) fn router(api: Api) -> Router {
    let protocol = Router::new()
        .route("/", get(negotiate))
        .route("/records", get(records).post(apply))
        .route("/adjustendpoints", post(adjust))
        .route("/healthz", get(healthz));
    Router::new()
        .nest("/clusters/{cluster}", protocol.clone())
        .merge(protocol)
        .route("/clusters/{cluster}/", get(negotiate))
        .fallback(async || {
            let paths = "/, /records, /adjustendpoints and /healthz, also below /clusters/NAME";
            refusal(StatusCode::NOT_FOUND, &format!("there is nothing here; there are {paths}"))
        })
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .with_state(api)
}

/// The routes of a listener that responds to probes of the kubelet alone.
pub(super) fn health_router(api: Api) -> Router {
    Router::new().route("/healthz", get(healthz)).with_state(api)
}

/// The cluster of a request, by its path.
#[derive(Debug, Clone)]
struct ClusterName(String);

/// Admits requests of known clusters with their password, none of which are sent by a page in a browser.
async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let name = path.strip_prefix("/clusters/").map_or("", |rest| rest.split('/').next().unwrap_or_default()).to_owned();
    if path.ends_with("/healthz") {
        return next.run(request).await;
    }
    if request.headers().contains_key(header::ORIGIN) {
        return refusal(StatusCode::FORBIDDEN, "pages in browsers may not send this");
    }
    if let Some(passwords) = &api.passwords {
        let is_right = passwords.get(&name).is_some_and(|password| has_password(request.headers(), &name, password));
        if !is_right {
            let why = "write the name of the cluster (or `default`) and its secret of --token-file into the URL: \
                       http://NAME:SECRET@HOST/clusters/NAME";
            let mut response = refusal(StatusCode::UNAUTHORIZED, why);
            let basic = HeaderValue::from_static("Basic realm=\"portolan external-dns\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
            return response;
        }
    }
    if !api.clusters.contains(&name) {
        let known = |name: &String| if name.is_empty() { "/".to_owned() } else { format!("/clusters/{name}") };
        let known: Vec<String> = api.clusters.iter().map(known).collect();
        let why = format!("there is no such cluster: use {}, or add --cluster NAME", known.join(", "));
        return refusal(StatusCode::NOT_FOUND, &why);
    }
    request.extensions_mut().insert(ClusterName(name));
    next.run(request).await
}

/// Whether the request has the name and the password of a cluster (RFC 7617).
fn has_password(headers: &HeaderMap, cluster: &str, password: &str) -> bool {
    let field = headers.get(header::AUTHORIZATION).and_then(|field| field.to_str().ok()?.strip_prefix("Basic "));
    let Some(sent) = field.and_then(|text| BASE64.decode(text.trim().as_bytes()).ok()) else { return false };
    let user = if cluster.is_empty() { "default" } else { cluster };
    bool::from(sent.ct_eq(format!("{user}:{password}").as_bytes()))
}

async fn negotiate(State(api): State<Api>) -> Response {
    let filter = api.run(|provider| Ok(DomainFilter { include: provider.zones().iter().map(shown).collect() })).await;
    let mut response = typed(filter);
    // Versions before 0.14 of external-dns refuse a response without it.
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Content-Type"));
    response
}

async fn records(State(api): State<Api>, request: Request) -> Response {
    let cluster = cluster_of(&request);
    typed(api.run(move |provider| Ok(provider.records(&cluster))).await)
}

async fn apply(State(api): State<Api>, request: Request) -> Response {
    let cluster = cluster_of(&request);
    let Ok(_permit) = api.bodies.clone().acquire_owned().await else { return stopping() };
    let changes: RecordChanges = match parsed(request).await {
        Ok(changes) => changes,
        Err(response) => return *response,
    };
    match api.run(move |provider| provider.apply(&cluster, &changes)).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(response) => response,
    }
}

async fn adjust(State(api): State<Api>, request: Request) -> Response {
    let cluster = cluster_of(&request);
    let Ok(_permit) = api.bodies.clone().acquire_owned().await else { return stopping() };
    let records: Vec<DnsRecord> = match parsed(request).await {
        Ok(records) => records,
        Err(response) => return *response,
    };
    typed(api.run(move |provider| provider.adjust(&cluster, &records)).await)
}

async fn healthz(State(api): State<Api>) -> Response {
    let health = api.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match health {
        ProviderHealth { unwritten: Some(why), .. } => refusal(StatusCode::SERVICE_UNAVAILABLE, &why),
        ProviderHealth { records, left_out, .. } if left_out.is_empty() => {
            format!("ok: {records} records\n").into_response()
        }
        ProviderHealth { records, left_out, .. } => {
            let (count, named) = (left_out.len(), crate::printable::escaped(&listed(&left_out)).into_owned());
            format!("ok: {records} records; left as they were: {count}: {named}\n").into_response()
        }
    }
}

fn cluster_of(request: &Request) -> String {
    request.extensions().get().map_or_else(String::new, |ClusterName(name)| name.clone())
}

/// What a request sends.
trait RequestBody: DeserializeOwned {
    /// Its form, for messages.
    const EXPECTED: &str;
    /// Whether it is a JSON list, else it is an object.
    const IS_LIST: bool;
}

impl RequestBody for RecordChanges {
    const EXPECTED: &str =
        "changes: {\"create\": [...], \"updateOld\": [...], \"updateNew\": [...], \"delete\": [...]}";
    const IS_LIST: bool = false;
}

impl RequestBody for Vec<DnsRecord> {
    const EXPECTED: &str = "a list of records";
    const IS_LIST: bool = true;
}

/// The JSON of a body of bounded length.
async fn parsed<T: RequestBody>(request: Request<Body>) -> Result<T, Box<Response>> {
    let refused = |status, why: String| Box::new(refusal(status, &why));
    let media_type = request.headers().get(header::CONTENT_TYPE).map(|field| field.to_str().unwrap_or_default());
    // Versions before 0.14 of external-dns send none.
    let is_right = |media_type: &str| media_type.split(';').next().map(str::trim) == MEDIA_TYPE.split(';').next();
    if let Some(other) = media_type.filter(|media_type| !is_right(media_type)) {
        let why = format!("expected content-type: {MEDIA_TYPE}; found {}", other.escape_default());
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body: Bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let why = format!("the body can't be read, or is over {MAX_BODY} octets");
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        Err(_) => {
            let why = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            return Err(refused(StatusCode::REQUEST_TIMEOUT, why));
        }
    };
    let expected = T::EXPECTED;
    // A struct is also read from a list of its fields, which nobody means.
    let is_list = body.iter().find(|octet| !octet.is_ascii_whitespace()) == Some(&b'[');
    if is_list != T::IS_LIST {
        let found = if is_list { "a list" } else { "no list" };
        return Err(refused(StatusCode::BAD_REQUEST, format!("expected {expected}; found {found}")));
    }
    serde_json::from_slice(&body).map_err(|error| {
        refused(StatusCode::BAD_REQUEST, format!("expected {expected}; the body is not that: {error}"))
    })
}

/// A response with the media type of the protocol.
fn typed(result: Result<impl Serialize, Response>) -> Response {
    match result {
        Ok(body) => {
            let json = crate::printable::json(&body);
            ([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], json).into_response()
        }
        Err(response) => response,
    }
}

fn stopping() -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "the program is stopping")
}

/// A refusal as plain text. external-dns shows the status alone, so it is in the log too.
fn refusal(status: StatusCode, why: &str) -> Response {
    let why = crate::printable::escaped(why).into_owned();
    tracing::warn!(status = status.as_u16(), "a request was not done: {why}");
    (status, why + "\n").into_response()
}
