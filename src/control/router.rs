//! The router of the API: each path of [`ApiRoute`] with its handlers, and what every request passes before.

use axum::routing::{MethodRouter, get, post, put};
use axum::{Router, middleware};

use crate::control::http::{guard, method_not_allowed, not_found};
use crate::control::openapi::document;
use crate::control::openapi::routes::ApiRoute;
use crate::control::serve::ApiRoutes;
use crate::control::state::ApiState;
use crate::control::{drill, failback, gate, heartbeat, history, http, names, operate, page, request_log, simulate};

/// All routes of the API, over `state`.
pub fn router(state: ApiState) -> ApiRoutes {
    let (room, access) = (state.room.clone(), state.controls.access.clone());
    let routes = ApiRoute::ALL.iter();
    let router = routes.fold(Router::new(), |router, route| router.route(route.path(), handlers(*route)));
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), gate::compress))
        .layer(middleware::from_fn_with_state(state.clone(), gate::limit_rate))
        .layer(middleware::from_fn_with_state(state.clone(), gate::check_host))
        .layer(middleware::from_fn_with_state(state.clone(), gate::reserve_octets))
        .layer(middleware::map_response(guard))
        .layer(middleware::from_fn(request_log::log))
        .with_state(state);
    ApiRoutes { router, room, access }
}

/// The handlers of the methods of a path.
fn handlers(route: ApiRoute) -> MethodRouter<ApiState> {
    match route {
        ApiRoute::Index => get(page::index),
        ApiRoute::Healthz => get(http::healthz),
        ApiRoute::Readyz => get(http::readyz),
        ApiRoute::Metrics => get(http::metrics),
        ApiRoute::Document => get(document::respond),
        ApiRoute::Status => get(http::status_json),
        ApiRoute::Transitions => get(http::transitions),
        ApiRoute::Explain => get(http::explain_json),
        ApiRoute::Simulate => post(simulate::respond),
        ApiRoute::Names => get(names::respond),
        ApiRoute::History => get(history::respond::respond),
        ApiRoute::Events => get(http::follow_events),
        ApiRoute::Overrides => get(operate::list).put(operate::put_all).delete(operate::clear_all),
        ApiRoute::Override => put(operate::put).delete(operate::clear),
        ApiRoute::Failback => post(failback::respond::respond),
        ApiRoute::Drill => get(drill::show).post(drill::begin).delete(drill::stop),
        ApiRoute::DrillRenewal => put(drill::renew),
        ApiRoute::Heartbeat => put(heartbeat::put).delete(heartbeat::goodbye),
        ApiRoute::Reload => post(operate::reload),
    }
}
