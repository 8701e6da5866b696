//! `PUT` and `DELETE /v1/heartbeat/ENDPOINT`: a service reports that it is alive, or that it stops. The heartbeat is
//! passed to the probers of this process, which judge it; the response does not wait for that.

pub(crate) mod gate;

use std::time::Duration;

use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;
use crate::config::{Holder, Rights, Role};
use crate::control::access::Refusal;
use crate::control::caller::Caller;
use crate::control::heartbeat::gate::{EndpointIndex, HeartbeatCheck, TooOften, heartbeats};
use crate::control::json::{self, Json};
use crate::control::openapi::schemas;
use crate::control::problem::{problem, retry_after};
use crate::control::request::{ErrorResponse, MAX_BODY, PathName, bad_request, body, name_in};
use crate::control::state::ApiState;
use crate::health::{Beat, Sign};
use crate::model::heartbeat::{MAX_BEAT, MIN_BEAT};
use crate::model::{Endpoint, HeartbeatSpec, Model};
use crate::source::did_you_mean;

/// Describes a correct body, for error messages.
const EXPECTED: &str = "expected {\"ttl\": \"5s\"}, or no body for the monitor's `ttl`";

/// Most names of endpoints that are compared with a name that no endpoint has (judgment: a ms).
const MOST_FOR_HINT: usize = 5000;

/// The body of `PUT /v1/heartbeat/ENDPOINT`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutHeartbeat {
    /// How long the service may stay silent after this; default: the `ttl` of the monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::short_time, required = false)]
    pub ttl: Option<String>,
}

/// The response to both calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatResponse {
    /// The endpoint.
    pub endpoint: String,
    /// The zones in which it has a heartbeat monitor.
    pub zones: Vec<String>,
    /// How long the heartbeat is valid, the longest time if monitors differ; absent for a goodbye.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// `PUT /v1/heartbeat/ENDPOINT`.
pub(super) async fn put(
    Shared(state): Shared<ApiState>,
    caller: Caller,
    endpoint: PathName,
    request: Request,
) -> Response {
    let done = async {
        caller.check_origin(&state)?;
        let holder = caller.holder(&state, Role::Beat)?;
        let ttl = ttl_of(&body(request, MAX_BODY, EXPECTED).await?).map_err(bad_request)?;
        pass_on(&state, &holder, &name_in(endpoint)?, Message::Alive(ttl))
    };
    done.await.unwrap_or_else(|refused: ErrorResponse| *refused)
}

/// `DELETE /v1/heartbeat/ENDPOINT`.
pub(super) async fn goodbye(Shared(state): Shared<ApiState>, caller: Caller, endpoint: PathName) -> Response {
    let done = || {
        caller.check_origin(&state)?;
        let holder = caller.holder(&state, Role::Beat)?;
        pass_on(&state, &holder, &name_in(endpoint)?, Message::Goodbye)
    };
    done().unwrap_or_else(|refused: ErrorResponse| *refused)
}

fn ttl_of(body: &[u8]) -> Result<Option<Duration>, String> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let put: PutHeartbeat = json::object(body).map_err(|error| format!("{error}; {EXPECTED}"))?;
    let Some(written) = put.ttl else { return Ok(None) };
    let ttl = humantime::parse_duration(written.trim())
        .map_err(|error| format!("\"ttl\": `{written}` is no length of time ({error}); write 5s or 500ms"))?;
    if !(MIN_BEAT..=MAX_BEAT).contains(&ttl) {
        let [least, most] = [MIN_BEAT, MAX_BEAT].map(humantime::format_duration);
        return Err(format!("\"ttl\" is from {least} to {most}, not {written}"));
    }
    Ok(Some(ttl))
}

/// What a service reports.
#[derive(Debug, Clone, Copy)]
enum Message {
    /// It is alive, for this long; without a time, for the `ttl` of the monitor.
    Alive(Option<Duration>),
    /// It stops.
    Goodbye,
}

/// Passes a message on to the probers of the endpoint's heartbeat checks, in the zones that the token is for.
fn pass_on(state: &ApiState, holder: &Holder, endpoint: &str, message: Message) -> Result<Response, ErrorResponse> {
    let served = state.snapshots.load();
    let index = state.beat_gate.index(&served.model);
    let (positions, checks) =
        heartbeats_of(&index, &served.model, endpoint, &holder.rights).inspect_err(|refused| {
            if refused.status() == StatusCode::FORBIDDEN {
                state.controls.access.refusals.count(Refusal::Role);
            }
        })?;
    let (mut zones, mut longest): (Vec<String>, Option<Duration>) = (Vec::new(), None);
    let mut beats = Vec::new();
    for (key, spec) in checks {
        if !zones.contains(&spec.zone) {
            zones.push(spec.zone.clone());
        }
        let sign = sign_for(message, spec, endpoint)?;
        if let Sign::Alive { ttl } = sign {
            longest = longest.max(Some(ttl));
        }
        beats.push(Beat { key: key.clone(), sign });
    }
    if let Some(Beat { sign, .. }) = beats.first() {
        for position in positions {
            index.take(position, sign, clock::now()).map_err(|TooOften { wait }| too_often(endpoint, sign, wait))?;
        }
    }
    for beat in &beats {
        state.controls.beats.send(beat).map_err(|_| busy())?;
        if let Some(relay) = &state.controls.relay {
            relay(beat);
        }
    }
    let ttl = longest.map(|ttl| humantime::format_duration(ttl).to_string());
    Ok(Json(HeartbeatResponse { endpoint: endpoint.to_owned(), zones, ttl }).into_response())
}

/// The message for one check. A requested time over the longest that the monitor allows is refused.
fn sign_for(message: Message, spec: &HeartbeatSpec, endpoint: &str) -> Result<Sign, ErrorResponse> {
    match message {
        Message::Goodbye => Ok(Sign::Goodbye),
        Message::Alive(Some(ttl)) if ttl > spec.longest => {
            let (longest, zone) = (humantime::format_duration(spec.longest), &spec.zone);
            let why = format!("\"ttl\" is at most {longest}: the monitor of `{endpoint}` in {zone} says so");
            Err(bad_request(why))
        }
        Message::Alive(ttl) => Ok(Sign::Alive { ttl: ttl.unwrap_or(spec.ttl) }),
    }
}

/// The positions of all endpoints of this name for which the holder of `rights` may report, and their heartbeat checks.
fn heartbeats_of<'a>(
    index: &EndpointIndex,
    model: &'a Model,
    name: &str,
    rights: &Rights,
) -> Result<(Vec<u32>, Vec<HeartbeatCheck<'a>>), ErrorResponse> {
    let named = index.named(model, name);
    if named.clone().next().is_none() {
        let names = model.endpoints.iter().map(|endpoint| endpoint.name.as_str()).take(MOST_FOR_HINT);
        let hint = did_you_mean(name, names).map_or_else(String::new, |hint| format!("; {hint}"));
        let detail = format!("no endpoint is called `{name}`{hint}");
        return Err(Box::new(problem(StatusCode::NOT_FOUND, detail)));
    }
    let zone_of = |endpoint: &Endpoint| &model.zone(endpoint.zone).apex;
    let (positions, allowed): (Vec<u32>, Vec<&Endpoint>) =
        named.clone().filter(|(_, endpoint)| rights.may_beat(zone_of(endpoint), name)).unzip();
    if allowed.is_empty() {
        let zones: Vec<String> = named.map(|(_, endpoint)| zone_of(endpoint).to_string()).collect();
        let detail = format!("this token is not for heartbeats of `{name}` in {}", zones.join(", "));
        return Err(Box::new(problem(StatusCode::FORBIDDEN, detail)));
    }
    let found: Vec<HeartbeatCheck<'a>> = allowed.into_iter().flat_map(|endpoint| heartbeats(model, endpoint)).collect();
    if found.is_empty() {
        let detail = format!(
            "`{name}` has no monitor of type heartbeat, or is disabled: declare `[monitor.NAME]` with \
             `type = \"heartbeat\"` and write `monitor = \"NAME\"` in the endpoint"
        );
        return Err(Box::new(problem(StatusCode::CONFLICT, detail)));
    }
    Ok((positions, found))
}

fn too_often(endpoint: &str, sign: &Sign, wait: Duration) -> ErrorResponse {
    let detail = match sign {
        Sign::Alive { .. } => format!("heartbeats of `{endpoint}` come too often: a few in each ttl will do"),
        Sign::Goodbye => format!(
            "goodbyes of `{endpoint}` come too often: ten at once, then one in ten seconds; without it the endpoint is \
             down after the ttl of its last heartbeat"
        ),
    };
    Box::new(retry_after(problem(StatusCode::TOO_MANY_REQUESTS, detail), wait))
}

fn busy() -> ErrorResponse {
    let response = problem(StatusCode::SERVICE_UNAVAILABLE, "too many heartbeats wait: try again in a second");
    Box::new(retry_after(response, Duration::from_secs(1)))
}
