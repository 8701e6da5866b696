//! The calls for overrides and reload. The handler of a change checks the request, sends a [`Command`] to the steering
//! task, which executes it in `daemon::steer`, and responds when the change is being served.

use std::collections::HashSet;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State as Shared};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::oneshot;
use utoipa::IntoParams;

use crate::config::{Holder, Role, VersionStatus, ZoneState};
use crate::control::access::Refusal;
use crate::control::caller::Caller;
use crate::control::command::{
    AppliedChange, Command, OverrideChange, OverrideResponse, OverridesResponse, PostReload, PutOverride,
    ReloadResponse, SharedOutcome, TargetChange, TargetOverride,
};
use crate::control::json::{self, Json};
use crate::control::moved::moved;
use crate::control::overrides::{OverrideError, OverrideReport, check_why, duration_of, state_of};
use crate::control::problem::{self, problem, unconfirmed};
use crate::control::removal::Removals;
use crate::control::request::{ErrorResponse, MAX_BODY, PathName, bad_request, body, name_in, stopping};
use crate::control::state::ApiState;
use crate::control::status::ReloadStatus;
use crate::control::target::Target;
use crate::control::unsaved::SLOW;
use crate::model::Override;
use crate::model::glob::is_pattern;

/// Most targets of one request. Judgment: a glob, a pool, a region or a zone names more endpoints at once.
pub(super) const MAX_TARGETS: usize = 200;

/// Most globs of one request. Each is compared with the names of all endpoints: 10,000 take a millisecond. Steering
/// waits for so much only; what takes longer is worked out on another thread.
const MAX_GLOBS: usize = 16;

/// Describes a correct body, for error messages.
const EXPECTED: &str =
    "expected {\"state\": \"drain\", \"why\": \"...\"}, and \"for\": \"2h\" where it is to end by itself";

/// `GET /v1/overrides`.
pub(super) async fn list(Shared(state): Shared<ApiState>, caller: Caller) -> Response {
    match caller.holder(&state, Role::Read) {
        Ok(_) => {
            let mut reports = state.controls.disk.reports(&state.controls.book.load().all());
            if let Some(spread) = &state.controls.spread {
                spread(&mut reports.iter_mut());
            }
            Json(reports).into_response()
        }
        Err(error) => *error,
    }
}

/// `PUT /v1/overrides/TARGET`.
pub(super) async fn put(
    Shared(state): Shared<ApiState>,
    caller: Caller,
    target: PathName,
    request: Request,
) -> Response {
    let done = async {
        let holder = operator(&state, &caller)?;
        put_overrides(&state, &holder, vec![name_in(target)?], request).await
    };
    done.await.map_or_else(|error: ErrorResponse| *error, single_response)
}

/// `PUT /v1/overrides?target=TARGET&target=TARGET`.
pub(super) async fn put_all(Shared(state): Shared<ApiState>, caller: Caller, request: Request) -> Response {
    let done = async {
        let holder = operator(&state, &caller)?;
        put_overrides(&state, &holder, targets(request.uri())?, request).await
    };
    done.await.map_or_else(|error: ErrorResponse| *error, full_response)
}

/// The operator who calls. Nothing of a request is read before: it may be long, and is nobody's.
fn operator(state: &ApiState, caller: &Caller) -> Result<Holder, ErrorResponse> {
    caller.check_origin(state)?;
    caller.holder(state, Role::Operate)
}

async fn put_overrides(
    state: &ApiState,
    holder: &Holder,
    targets: Vec<String>,
    request: Request,
) -> Result<OverridesResponse, ErrorResponse> {
    let change = overrides_of(targets, holder, &body(request, MAX_BODY, EXPECTED).await?).map_err(bad_request)?;
    apply(state, change).await
}

/// `DELETE /v1/overrides/TARGET`.
pub(super) async fn clear(Shared(state): Shared<ApiState>, caller: Caller, target: PathName) -> Response {
    let done = async { clear_overrides(&state, operator(&state, &caller)?, vec![name_in(target)?]).await };
    done.await.map_or_else(|error: ErrorResponse| *error, single_response)
}

/// `DELETE /v1/overrides?target=TARGET&target=TARGET`.
pub(super) async fn clear_all(Shared(state): Shared<ApiState>, caller: Caller, uri: Uri) -> Response {
    let done = async { clear_overrides(&state, operator(&state, &caller)?, targets(&uri)?).await };
    done.await.map_or_else(|error: ErrorResponse| *error, full_response)
}

async fn clear_overrides(
    state: &ApiState,
    holder: Holder,
    targets: Vec<String>,
) -> Result<OverridesResponse, ErrorResponse> {
    let Holder { name, rights, .. } = holder;
    apply(state, OverrideChange::Clear { targets, who: name.to_string(), zones: rights.zones().cloned() }).await
}

/// The values of `target=` in the query, without repetitions.
fn targets(uri: &Uri) -> Result<Vec<String>, ErrorResponse> {
    let (mut targets, mut known, mut written): (Vec<String>, HashSet<Target>, usize) = Default::default();
    for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if key != "target" {
            return Err(bad_request(format!(
                "`{key}` is no parameter of this call; expected ?target=NAME&target=NAME"
            )));
        }
        written += 1;
        if known.insert(Target::parse(&value)) {
            targets.push(value.into_owned());
        }
    }
    if written > MAX_TARGETS {
        return Err(bad_request(format!("{written} targets are too many: {MAX_TARGETS} at a time")));
    }
    let globs = targets.iter().filter(|target| is_pattern(target)).count();
    if globs > MAX_GLOBS {
        return Err(bad_request(format!("{globs} globs are too many: {MAX_GLOBS} at a time")));
    }
    if targets.is_empty() {
        return Err(bad_request("expected ?target=NAME, or the target in the path: /v1/overrides/NAME".to_owned()));
    }
    Ok(targets)
}

/// The response to a request with one target in its path.
fn single_response(changed: OverridesResponse) -> Response {
    let OverridesResponse { overrides, moved, on_disk, warning, shared, not_shared } = changed;
    let of_target = overrides.into_iter().next();
    let (now, before) = of_target.map_or((None, None), |changed| (changed.now, changed.before));
    Json(OverrideResponse { now, before, moved, on_disk, warning, shared, not_shared }).into_response()
}

/// The response to a request with targets in its query.
fn full_response(changed: OverridesResponse) -> Response {
    Json(changed).into_response()
}

/// The query of `POST /v1/reload`.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ReloadQuery {
    /// As in the body.
    #[serde(default)]
    confirm_removal: bool,
}

/// `POST /v1/reload`. It needs no token: the server only reads its own files again, which it does by itself anyway.
/// That zones are removed at once is confirmed by a process of this host or with a token, because the server would not
/// do it by itself.
pub(super) async fn reload(
    Shared(state): Shared<ApiState>,
    caller: Caller,
    query: Result<Query<ReloadQuery>, QueryRejection>,
    request: Request,
) -> Response {
    reload_files(&state, &caller, query, request).await.unwrap_or_else(|error| *error)
}

async fn reload_files(
    state: &ApiState,
    caller: &Caller,
    query: Result<Query<ReloadQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    /// Describes a correct body, for error messages.
    const EXPECTED: &str = "expected no body, or {\"confirm_removal\": true}";
    caller.check_origin(state)?;
    let Query(query) =
        query.map_err(|error| bad_request(format!("expected ?confirm_removal=true; {}", error.body_text())))?;
    let body = body(request, MAX_BODY, EXPECTED).await?;
    let options: PostReload = match body.trim_ascii().is_empty() {
        true => PostReload::default(),
        false => json::object(&body).map_err(|error| bad_request(format!("{error}; {EXPECTED}")))?,
    };
    let confirm_removal = options.confirm_removal || query.confirm_removal;
    if confirm_removal {
        let (who, client) = (caller.confirmer(state)?, caller.client);
        tracing::info!(who, %client, "the removal of zones and names that have disappeared is confirmed");
    }
    let withdrawn = Removals::withdrawn(&state.sources.entries.load());
    let (before, zones) = (state.snapshots.load().model.clone(), state.reload.load().zones.clone());
    let (reply, ended) = oneshot::channel();
    let command = Command::Reload { confirm_removal, reply };
    state.send(command).await?;
    let status = ended.await.map_err(|_| stopping())?;
    let (report, served) = (status.report(), state.snapshots.load().model.clone());
    let vanished = Removals::vanished(&served, &status.zones);
    // A confirmed removal has removed what sources no longer list.
    let (removals, removed) = match confirm_removal {
        true => (vanished, Removals::between((&before, &zones), (&served, &status.zones)).and(withdrawn)),
        false => (vanished.and(withdrawn), Removals::default()),
    };
    let (removals, removed) = (removals.report(), removed.report());
    match status.ok {
        true => Ok(Json(ReloadResponse { generation: status.generation, report, removals, removed }).into_response()),
        false => Ok(problem::not_loaded(not_loaded(&status), report.problems, removals)),
    }
}

/// The zones that the last load left out, as an error message.
fn not_loaded(status: &ReloadStatus) -> String {
    /// Most zones that the message names (judgment).
    const NAMED: usize = 8;
    let apart: Vec<&ZoneState> = status.zones.iter().filter(|zone| zone.status != VersionStatus::Current).collect();
    let mut named: Vec<String> =
        apart.iter().take(NAMED).map(|zone| format!("{} ({})", zone.apex, zone.status.as_str())).collect();
    if apart.len() > NAMED {
        named.push(format!("and {} more", apart.len() - NAMED));
    }
    let what = match named.is_empty() {
        true => "that these problems are about".to_owned(),
        false => format!("of {}", named.join(", ")),
    };
    format!("not everything was loaded; generation {} is served, without the changes {what}", status.generation)
}

/// The change that a body requests for each target.
fn overrides_of(targets: Vec<String>, holder: &Holder, body: &[u8]) -> Result<OverrideChange, String> {
    let put: PutOverride = json::object(body).map_err(|error| format!("{error}; {EXPECTED}"))?;
    let state = state_of(&put.state)?;
    let lasting = put.duration.as_deref().map(duration_of).transpose().map_err(|why| format!("\"for\": {why}"))?;
    check_why(&put.why)?;
    let zones = holder.rights.zones();
    let of_target = |target| Override {
        target,
        state,
        why: put.why.clone(),
        who: holder.name.to_string(),
        until: None,
        zones: zones.cloned(),
    };
    let overrides = targets.into_iter().map(of_target).collect();
    Ok(OverrideChange::Put { overrides, lasting, confirmed: put.confirm })
}

/// Sends a change to the steering task, waits until it is being served, and reports its effect.
async fn apply(state: &ApiState, change: OverrideChange) -> Result<OverridesResponse, ErrorResponse> {
    let (reply, done) = oneshot::channel();
    state.send(Command::Override(change, reply)).await?;
    let applied = done.await.map_err(|_| stopping())?.map_err(|error| {
        if let OverrideError::OutsideZones(_) = error {
            state.controls.access.refusals.count(Refusal::Role);
        }
        Box::new(override_error(error))
    })?;
    let AppliedChange { targets, compared: [old, new], saved, shared } = applied;
    let counted = state.costly.spawn(move || moved(&old, &new));
    let (warning, (shared, not_shared)) = tokio::join!(save_warning(saved), share_result(shared));
    let report = |entry: Option<std::sync::Arc<Override>>| entry.map(|entry| OverrideReport::from(&*entry));
    let of_target =
        |TargetChange { target, before, now }| TargetOverride { target, now: report(now), before: report(before) };
    let overrides = targets.into_iter().map(of_target).collect();
    let (moved, on_disk) = (counted.await.unwrap_or_default(), warning.is_none());
    Ok(OverridesResponse { overrides, moved, on_disk, warning, shared, not_shared })
}

/// Waits until a change is written to the state directory, at most for [`SLOW`]. The result says why it is not written.
pub(super) async fn save_warning(saved: oneshot::Receiver<Result<(), String>>) -> Option<String> {
    match tokio::time::timeout(SLOW, saved).await {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(why))) => Some(why),
        Ok(Err(_)) => Some("not yet on disk: the server is stopping; a restart may lose this".to_owned()),
        Err(_) => {
            let secs = SLOW.as_secs();
            Some(format!("not yet on disk: the disk has not answered for {secs} s; a restart may lose this"))
        }
    }
}

/// Longest wait for the fleet. Judgment: a quorum over continents takes half a second, and a person waits for it.
const SHARE_WITHIN: Duration = Duration::from_secs(2);

/// Waits until the fleet has a change, at most for [`SHARE_WITHIN`]. Returns `shared` and `not_shared` of the response.
async fn share_result(shared: Option<SharedOutcome>) -> (Option<bool>, Option<String>) {
    let Some(shared) = shared else { return (None, None) };
    let why = match tokio::time::timeout(SHARE_WITHIN, shared).await {
        Ok(Ok(Ok(()))) => return (Some(true), None),
        Ok(Ok(Err(why))) => why,
        Ok(Err(_)) => "the server is stopping".to_owned(),
        Err(_) => format!("NATS has not confirmed it within {} s", SHARE_WITHIN.as_secs()),
    };
    let later = "it is in force on this server, and the fleet gets it as soon as it can";
    (Some(false), Some(format!("not yet shared: {why}; {later}")))
}

fn override_error(error: OverrideError) -> Response {
    let detail = error.to_string();
    match error {
        OverrideError::NoTarget(_) | OverrideError::NotOverridden(_) => problem(StatusCode::NOT_FOUND, detail),
        OverrideError::Malformed(_) => problem(StatusCode::BAD_REQUEST, detail),
        OverrideError::OutsideZones(_) => problem(StatusCode::FORBIDDEN, detail),
        OverrideError::Full | OverrideError::FullForZones => problem(StatusCode::CONFLICT, detail),
        OverrideError::Unconfirmed(unanswered) => unconfirmed(detail, *unanswered),
    }
}

#[cfg(test)]
mod tests;
