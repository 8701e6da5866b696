//! What every request passes before its handler: the check of its host, and the limit of calls without a token. What
//! every response passes after it: compression, and the budget of octets that wait.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::clock;
use crate::control::access::{CallCost, Refusal, host_of};
use crate::control::caller::Caller;
use crate::control::compression::{Coding, SHORTEST, gzip, mark};
use crate::control::connections::ApiConnection;
use crate::control::problem::{no_octets, problem, too_many};
use crate::control::state::ApiState;

/// Most characters of a host that an error repeats: the longest name (RFC 1035, 3.1) has fewer.
const MAX_HOST: usize = 255;

/// Health checks, which may have any host: load balancers send all kinds, and a node must not fail by that. The answers
/// reveal no more than that the node runs, and the calls change nothing.
pub(super) const HEALTH_CHECKS: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses a request whose host does not belong to this server, with status 421 (RFC 9110, 15.5.20), or which has no
/// valid host, with status 400 (RFC 9112, 3.2).
pub(super) async fn check_host(Shared(state): Shared<ApiState>, request: Request, next: Next) -> Response {
    let access = &state.controls.access;
    let (mut parts, body) = request.into_parts();
    let host = match host_of(parts.version, &parts.uri, &mut parts.headers) {
        Ok(host) => host,
        Err(why) => {
            access.refusals.count(Refusal::Host);
            return problem(StatusCode::BAD_REQUEST, why);
        }
    };
    let is_allowed = host.as_ref().is_none_or(|host| access.hosts.load().include(host));
    if !is_allowed && !HEALTH_CHECKS.contains(&parts.uri.path()) {
        access.refusals.count(Refusal::Host);
        return problem(StatusCode::MISDIRECTED_REQUEST, host.map(|host| misdirected(&host)).unwrap_or_default());
    }
    next.run(Request::from_parts(parts, body)).await
}

fn misdirected(host: &impl std::fmt::Display) -> String {
    let host: String = host.to_string().chars().take(MAX_HOST).collect();
    format!(
        "`{host}` is not a name of this server, so a page of another site may have sent this. If it is a name of this \
         server, write it into the settings: `[api] hosts = [\"{host}\"]`. Addresses and `localhost` are accepted"
    )
}

/// Refuses a call without a token, with status 429, when its client net has made too many.
pub(super) async fn limit_rate(Shared(state): Shared<ApiState>, request: Request, next: Next) -> Response {
    let Some(cost) = CallCost::of(request.uri().path()) else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    let caller = Caller::of(&parts);
    let access = &state.controls.access;
    match access.rates.take(cost, caller.client, clock::now()) {
        Err(wait) if !caller.has_token(&state) => {
            access.refusals.count(Refusal::Rate);
            too_many("too many of these calls came from this address; with a token they are not limited", wait)
        }
        Ok(()) | Err(_) => next.run(Request::from_parts(parts, body)).await,
    }
}

/// Responses up to this length are not counted against the octets that may wait: with 256 connections 16 MiB.
const UNCOUNTED: u64 = 64 * 1024;

/// Reserves the octets of a large response until its client has taken them. Refuses it, with status 503, when too many
/// wait already. A body that is made while it is sent has only a small part in memory.
pub(super) async fn reserve_octets(Shared(state): Shared<ApiState>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Arc<ApiConnection>>().cloned();
    let response = next.run(request).await;
    let length = response.body().size_hint().exact().filter(|length| *length > UNCOUNTED);
    let (Some(connection), Some(length)) = (connection, length) else { return response };
    let Some(reservation) = connection.reserve(length as usize).await else {
        state.controls.access.refusals.count(Refusal::Octets);
        return no_octets();
    };
    let (parts, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        // The body is in one piece, so this copies nothing.
        Ok(octets) => Response::from_parts(parts, Body::from(reservation.into_bytes(octets))),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, format!("the response could not be made: {error}")),
    }
}

/// Compresses a response that its handler has not, where the client accepts it and the body is in one piece.
pub(super) async fn compress(Shared(state): Shared<ApiState>, request: Request, next: Next) -> Response {
    let coding = Coding::accepted(request.headers());
    let response = next.run(request).await;
    let is_long = response.body().size_hint().exact().is_some_and(|length| length >= SHORTEST as u64);
    if !is_long || response.headers().contains_key(header::VARY) {
        return response;
    }
    if coding == Coding::Identity {
        return mark(response, coding);
    }
    let (mut parts, body) = response.into_parts();
    // The body is in one piece, so this copies nothing.
    let Ok(octets) = to_bytes(body, usize::MAX).await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the response could not be made");
    };
    let plain = octets.clone();
    // Without threads it is sent as it is.
    match state.costly.run_piece(move || gzip(&plain)).await {
        Ok(packed) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            mark(Response::from_parts(parts, Body::from(packed)), Coding::Gzip)
        }
        Err(_) => mark(Response::from_parts(parts, Body::from(octets)), Coding::Identity),
    }
}
