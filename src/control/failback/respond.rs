//! The handler of `POST /v1/failback/NAME`.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use crate::clock;
use crate::config::{Holder, Role};
use crate::control::caller::Caller;
use crate::control::command::{AppliedFailback, Command};
use crate::control::failback::{FailbackError, FailbackResponse, PoolMove, events, exclusive, exclusive_named, report};
use crate::control::json::Json;
use crate::control::operate::save_warning;
use crate::control::problem::problem;
use crate::control::request::{ErrorResponse, PathName, name_in, stopping};
use crate::control::state::ApiState;

/// `POST /v1/failback/NAME`.
pub(in crate::control) async fn respond(Shared(state): Shared<ApiState>, caller: Caller, name: PathName) -> Response {
    let done = async {
        caller.check_origin(&state)?;
        let name = name_in(name)?;
        let Holder { name: who, rights, .. } = caller.holder(&state, Role::Operate)?;
        let zones = rights.zones().cloned();
        let served = state.snapshots.load_full();
        if let Some(name) = exclusive_named(&served.model, &name, zones.as_deref()) {
            let done = exclusive::hand_back(&state, served.clone(), name, who).await?;
            let report = done.map_err(|error| Box::new(failback_error(&error)))?;
            return Ok(Json(report).into_response());
        }
        let (reply, done) = oneshot::channel();
        state.send(Command::Failback { name, zones, reply }).await?;
        let applied = done.await.map_err(|_| stopping())?.map_err(|error| Box::new(failback_error(&error)))?;
        let AppliedFailback { policy, name, served: [old, new], saved } = applied;
        let generation = new.generation;
        let events = events(&old, &new, policy, &who, clock::unix_seconds());
        events.into_iter().for_each(|event| state.journal.append(event));
        let report = state.costly.spawn(move || report(&old, &new, policy, name));
        let warning = match saved {
            None => None,
            Some(saved) => save_warning(saved).await,
        };
        let report = report.await.map_err(|_| stopping())?;
        for PoolMove { pool, from, to } in &report.handed_back {
            tracing::info!(name = report.name, pool, from, to, who = &*who, generation, "failback");
        }
        Ok(Json(FailbackResponse { on_disk: warning.is_none(), warning, ..report }).into_response())
    };
    done.await.unwrap_or_else(|error: ErrorResponse| *error)
}

fn failback_error(error: &FailbackError) -> Response {
    let status = match error {
        FailbackError::NoName(_) => StatusCode::NOT_FOUND,
        FailbackError::NotManual(_) | FailbackError::Stays(_) => StatusCode::CONFLICT,
        FailbackError::OutsideZones(_) => StatusCode::FORBIDDEN,
    };
    problem(status, error.to_string())
}
