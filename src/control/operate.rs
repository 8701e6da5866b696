//! The calls that change something: overrides and reload. Each checks who asks and what, sends a [`Command`] to the
//! steering task, and answers when what was asked for is being served.

use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use crate::clock;
use crate::config::Role;
use crate::control::access::{caller, same_origin};
use crate::control::command::{Applied, Change, Changed, Command, PutOverride};
use crate::control::moved::moved;
use crate::control::overrides::{Refusal, Said, check_why, duration_of, endpoints_of, state_of};
use crate::control::problem::{problem, problem_with};
use crate::control::status::{ProblemReport, ReloadReport};
use crate::control::{Reloaded, State};
use crate::model::Override;

/// Longest body in octets: an override's is under 2 KiB, however its `why` is escaped.
const MAX_BODY: usize = 16 * 1024;

/// A body is read whole within this; the head has a limit of its own.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is right, for those who sent something else.
const EXPECTED: &str =
    "expected {\"state\": \"drain\", \"why\": \"...\"}, and \"for\": \"2h\" where it is to end by itself";

/// An answer that says why not. Boxed: it is large, and rare.
pub(super) type Refused = Box<Response>;

/// `GET /v1/overrides`.
pub(super) async fn list(Shared(state): Shared<State>, headers: HeaderMap) -> Response {
    match caller(&state, &headers, Role::Read) {
        Ok(_) => {
            Json(state.controls.book.load().all().map(|said| Said::from(&**said)).collect::<Vec<_>>()).into_response()
        }
        Err(refused) => *refused,
    }
}

/// `PUT /v1/overrides/TARGET`.
pub(super) async fn put(Shared(state): Shared<State>, Path(target): Path<String>, request: Request) -> Response {
    let done = async {
        same_origin(request.headers())?;
        let who = caller(&state, request.headers(), Role::Operate)?;
        let said = override_of(target, who.name.to_string(), &body(request, EXPECTED).await?).map_err(bad_request)?;
        change(&state, Change::Put(said)).await
    };
    done.await.unwrap_or_else(|refused| *refused)
}

/// `DELETE /v1/overrides/TARGET`.
pub(super) async fn clear(Shared(state): Shared<State>, Path(target): Path<String>, headers: HeaderMap) -> Response {
    let done = async {
        same_origin(&headers)?;
        let who = caller(&state, &headers, Role::Operate)?;
        change(&state, Change::Clear { target, who: who.name.to_string() }).await
    };
    done.await.unwrap_or_else(|refused| *refused)
}

/// `POST /v1/reload`. Needs no token: it has the server look at its own files, which it watches anyway.
pub(super) async fn reload(Shared(state): Shared<State>, headers: HeaderMap) -> Response {
    if let Err(refused) = same_origin(&headers) {
        return *refused;
    }
    let (reply, ended) = oneshot::channel();
    if state.controls.commands.send(Command::Reload(reply)).await.is_err() {
        return *stopping();
    }
    let Ok(status) = ended.await else { return *stopping() };
    let problems: Vec<ProblemReport> = status.problems.iter().map(ProblemReport::from).collect();
    if status.ok {
        let report = ReloadReport { ok: status.ok, at: status.at, problems };
        return Json(Reloaded { generation: status.generation, report }).into_response();
    }
    let detail = format!("the files were not loaded; generation {} goes on", status.generation);
    problem_with(StatusCode::UNPROCESSABLE_ENTITY, detail, problems)
}

/// What a body says of `target`.
fn override_of(target: String, who: String, body: &[u8]) -> Result<Override, String> {
    let put: PutOverride = serde_json::from_slice(body).map_err(|error| format!("{error}; {EXPECTED}"))?;
    let state = state_of(&put.state)?;
    let time = put.duration.as_deref().map(duration_of).transpose().map_err(|why| format!("\"for\": {why}"))?;
    check_why(&put.why)?;
    let until = time.map(|time| clock::unix_seconds() + time.as_secs_f64());
    Ok(Override { target, state, why: put.why, who, until })
}

/// The body, whole; `expected` tells what is right. It is taken for JSON whatever its type is said to be: `curl -d` says
/// something else, and the token already keeps out the pages that could send no better.
pub(super) async fn body(request: Request<Body>, expected: &str) -> Result<Vec<u8>, Refused> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await {
        Ok(Ok(body)) => Ok(body.into()),
        Ok(Err(_)) => {
            let detail = format!("the body can't be read whole, or is over {MAX_BODY} octets; {expected}");
            Err(Box::new(problem(StatusCode::PAYLOAD_TOO_LARGE, detail)))
        }
        Err(_) => Err(Box::new(problem(StatusCode::REQUEST_TIMEOUT, "the body did not come whole within 10 s"))),
    }
}

/// Has a change made; answers when it is being served, with what it did.
async fn change(state: &State, change: Change) -> Result<Response, Refused> {
    let target = match &change {
        Change::Put(said) => said.target.clone(),
        Change::Clear { target, .. } => target.clone(),
    };
    let (reply, done) = oneshot::channel();
    state.controls.commands.send(Command::Override(change, reply)).await.map_err(|_| stopping())?;
    let applied = done
        .await
        .map_err(|_| stopping())?
        .map_err(|refusal| Box::new(problem(status_of(&refusal), refusal.to_string())))?;
    let Applied { before, now, served, kept } = applied;
    let [old, new] = served;
    // Many names take long, and the other requests don't wait for it.
    let counted = tokio::task::spawn_blocking(move || {
        let concerned: HashSet<_> = endpoints_of(&target, &new.model).into_iter().collect();
        moved(&old, &new, &concerned)
    });
    let warning = match kept.await {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(_) => Some("the server is stopping; this may be lost".to_owned()),
    };
    let report = |said: Option<std::sync::Arc<Override>>| said.map(|said| Said::from(&*said));
    let changed =
        Changed { now: report(now), before: report(before), moved: counted.await.unwrap_or_default(), warning };
    Ok(Json(changed).into_response())
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoTarget(_) | Refusal::NothingSaid(_) => StatusCode::NOT_FOUND,
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::Full => StatusCode::CONFLICT,
    }
}

fn bad_request(why: String) -> Refused {
    Box::new(problem(StatusCode::BAD_REQUEST, why))
}

fn stopping() -> Refused {
    Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping: nothing was changed"))
}

#[cfg(test)]
mod tests;
