//! The calls that change something: overrides and reload. Each checks who asks and what, sends a [`Command`] to the
//! steering task, and answers when what was asked for is being served.

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use crate::clock;
use crate::config::{Role, VersionStatus, ZoneState};
use crate::control::access::{caller, same_origin};
use crate::control::command::{
    AppliedChange, Command, OverrideChange, OverrideResponse, OverridesResponse, PostReload, PutOverride,
    ReloadResponse, TargetChange, TargetOverride,
};
use crate::control::moved::moved;
use crate::control::overrides::{OverrideError, OverrideReport, check_why, duration_of, state_of};
use crate::control::problem::{problem, problem_with, unconfirmed};
use crate::control::request::{ErrorResponse, MAX_BODY, PathName, bad_request, body, name_in, stopping};
use crate::control::state::ApiState;
use crate::control::status::{ProblemReport, ReloadReport, ReloadStatus};
use crate::control::target::Target;
use crate::model::Override;

/// Most targets of one call: whoever means more writes a glob, a pool, a region or a zone (judgment).
const MAX_TARGETS: usize = 200;

/// What is right, for those who sent something else.
const EXPECTED: &str =
    "expected {\"state\": \"drain\", \"why\": \"...\"}, and \"for\": \"2h\" where it is to end by itself";

/// `GET /v1/overrides`.
pub(super) async fn list(Shared(state): Shared<ApiState>, headers: HeaderMap) -> Response {
    match caller(&state, &headers, Role::Read) {
        Ok(_) => {
            Json(state.controls.book.load().all().iter().map(|said| OverrideReport::from(&**said)).collect::<Vec<_>>())
                .into_response()
        }
        Err(refused) => *refused,
    }
}

/// `PUT /v1/overrides/TARGET`.
pub(super) async fn put(Shared(state): Shared<ApiState>, target: PathName, request: Request) -> Response {
    let done = async { put_of(&state, vec![name_in(target)?], request).await };
    done.await.map_or_else(|refused: ErrorResponse| *refused, one)
}

/// `PUT /v1/overrides?target=TARGET&target=TARGET`.
pub(super) async fn put_all(Shared(state): Shared<ApiState>, request: Request) -> Response {
    let done = async { put_of(&state, targets(request.uri())?, request).await };
    done.await.map_or_else(|refused: ErrorResponse| *refused, all)
}

async fn put_of(state: &ApiState, targets: Vec<String>, request: Request) -> Result<OverridesResponse, ErrorResponse> {
    same_origin(request.headers())?;
    let who = caller(state, request.headers(), Role::Operate)?;
    let change = overrides_of(targets, &who.name, &body(request, MAX_BODY, EXPECTED).await?).map_err(bad_request)?;
    apply(state, change).await
}

/// `DELETE /v1/overrides/TARGET`.
pub(super) async fn clear(Shared(state): Shared<ApiState>, target: PathName, headers: HeaderMap) -> Response {
    let done = async { clear_of(&state, vec![name_in(target)?], &headers).await };
    done.await.map_or_else(|refused: ErrorResponse| *refused, one)
}

/// `DELETE /v1/overrides?target=TARGET&target=TARGET`.
pub(super) async fn clear_all(Shared(state): Shared<ApiState>, uri: Uri, headers: HeaderMap) -> Response {
    let done = async { clear_of(&state, targets(&uri)?, &headers).await };
    done.await.map_or_else(|refused: ErrorResponse| *refused, all)
}

async fn clear_of(
    state: &ApiState,
    targets: Vec<String>,
    headers: &HeaderMap,
) -> Result<OverridesResponse, ErrorResponse> {
    same_origin(headers)?;
    let who = caller(state, headers, Role::Operate)?.name.to_string();
    apply(state, OverrideChange::Clear { targets, who }).await
}

/// Every `target=` of the query, each once.
fn targets(uri: &Uri) -> Result<Vec<String>, ErrorResponse> {
    let mut targets: Vec<String> = Vec::new();
    for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if key != "target" {
            return Err(bad_request(format!(
                "`{key}` is no parameter of this call; expected ?target=NAME&target=NAME"
            )));
        }
        if !targets.iter().any(|known| Target::parse(known) == Target::parse(&value)) {
            targets.push(value.into_owned());
        }
    }
    if targets.len() > MAX_TARGETS {
        return Err(bad_request(format!("{} targets are too many: {MAX_TARGETS} at a time", targets.len())));
    }
    if targets.is_empty() {
        return Err(bad_request("expected ?target=NAME, or the target in the path: /v1/overrides/NAME".to_owned()));
    }
    Ok(targets)
}

/// The answer about one target.
fn one(changed: OverridesResponse) -> Response {
    let OverridesResponse { overrides, moved, warning } = changed;
    let of_target = overrides.into_iter().next();
    let (now, before) = of_target.map_or((None, None), |changed| (changed.now, changed.before));
    Json(OverrideResponse { now, before, moved, warning }).into_response()
}

fn all(changed: OverridesResponse) -> Response {
    Json(changed).into_response()
}

/// `POST /v1/reload`. Needs no token: it has the server look at its own files, which it watches anyway.
pub(super) async fn reload(Shared(state): Shared<ApiState>, request: Request) -> Response {
    reloaded(&state, request).await.unwrap_or_else(|refused| *refused)
}

async fn reloaded(state: &ApiState, request: Request) -> Result<Response, ErrorResponse> {
    /// What is right, for those who sent something else.
    const EXPECTED: &str = "expected no body, or {\"confirm_removal\": true}";
    same_origin(request.headers())?;
    let in_query =
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "confirm_removal=true"));
    let body = body(request, MAX_BODY, EXPECTED).await?;
    let said: PostReload = match body.trim_ascii().is_empty() {
        true => PostReload::default(),
        false => serde_json::from_slice(&body).map_err(|error| bad_request(format!("{error}; {EXPECTED}")))?,
    };
    let (reply, ended) = oneshot::channel();
    let command = Command::Reload { confirm_removal: said.confirm_removal || in_query, reply };
    state.controls.commands.send(command).await.map_err(|_| stopping())?;
    let status = ended.await.map_err(|_| stopping())?;
    let problems: Vec<ProblemReport> = status.problems.iter().map(ProblemReport::from).collect();
    if status.ok {
        let report = ReloadReport { ok: status.ok, at: status.at, problems, unnoticed: status.unnoticed.clone() };
        return Ok(Json(ReloadResponse { generation: status.generation, report }).into_response());
    }
    Ok(problem_with(StatusCode::UNPROCESSABLE_ENTITY, not_taken(&status), problems))
}

/// What the last load did not take, in short.
fn not_taken(status: &ReloadStatus) -> String {
    /// Zones that are named one by one (judgment).
    const NAMED: usize = 8;
    let apart: Vec<&ZoneState> = status.zones.iter().filter(|zone| zone.status != VersionStatus::Current).collect();
    let mut named: Vec<String> =
        apart.iter().take(NAMED).map(|zone| format!("{} ({})", zone.apex, zone.status.as_str())).collect();
    if apart.len() > NAMED {
        named.push(format!("and {} more", apart.len() - NAMED));
    }
    let what = if named.is_empty() { "the files that have errors".to_owned() } else { named.join(", ") };
    format!("not everything was loaded; generation {} is served, without the changes of {what}", status.generation)
}

/// What a body says of each target.
fn overrides_of(targets: Vec<String>, who: &str, body: &[u8]) -> Result<OverrideChange, String> {
    let put: PutOverride = serde_json::from_slice(body).map_err(|error| format!("{error}; {EXPECTED}"))?;
    let state = state_of(&put.state)?;
    let time = put.duration.as_deref().map(duration_of).transpose().map_err(|why| format!("\"for\": {why}"))?;
    check_why(&put.why)?;
    let until = time.map(|time| clock::unix_seconds() + time.as_secs_f64());
    let of_target = |target| Override { target, state, why: put.why.clone(), who: who.to_owned(), until };
    Ok(OverrideChange::Put { overrides: targets.into_iter().map(of_target).collect(), confirmed: put.confirm })
}

/// Has a change made; answers when it is being served, with what it did.
async fn apply(state: &ApiState, change: OverrideChange) -> Result<OverridesResponse, ErrorResponse> {
    let (reply, done) = oneshot::channel();
    state.controls.commands.send(Command::Override(change, reply)).await.map_err(|_| stopping())?;
    let applied = done.await.map_err(|_| stopping())?.map_err(|refusal| Box::new(refused(refusal)))?;
    let AppliedChange { turns, served, kept } = applied;
    let [old, new] = served;
    // Many names take long, and the other requests don't wait for it.
    let counted = tokio::task::spawn_blocking(move || moved(&old, &new));
    let warning = unkept(kept).await;
    let report = |said: Option<std::sync::Arc<Override>>| said.map(|said| OverrideReport::from(&*said));
    let of_target =
        |TargetChange { target, before, now }| TargetOverride { target, now: report(now), before: report(before) };
    let overrides = turns.into_iter().map(of_target).collect();
    Ok(OverridesResponse { overrides, moved: counted.await.unwrap_or_default(), warning })
}

/// Waits until something is kept for the next start; why it isn't.
pub(super) async fn unkept(kept: oneshot::Receiver<Result<(), String>>) -> Option<String> {
    match kept.await {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(_) => Some("the server is stopping; this may be lost".to_owned()),
    }
}

fn refused(refusal: OverrideError) -> Response {
    let detail = refusal.to_string();
    match refusal {
        OverrideError::NoTarget(_) | OverrideError::NotOverridden(_) => problem(StatusCode::NOT_FOUND, detail),
        OverrideError::Malformed(_) => problem(StatusCode::BAD_REQUEST, detail),
        OverrideError::Full => problem(StatusCode::CONFLICT, detail),
        OverrideError::Unconfirmed(unanswered) => unconfirmed(detail, *unanswered),
    }
}

#[cfg(test)]
mod tests;
