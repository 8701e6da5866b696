//! The handlers of `/v1/drill`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::clock;
use crate::config::{Holder, Role};
use crate::control::access::Refusal;
use crate::control::caller::Caller;
use crate::control::drill::plan::{DrillRefusal, plan};
use crate::control::drill::session::{Session, run};
use crate::control::drill::{DrillShown, LONGEST, PostDrill, SHORTEST};
use crate::control::json::{self, Json};
use crate::control::overrides::duration_of;
use crate::control::problem::problem;
use crate::control::request::{ErrorResponse, PathName, bad_request, body, name_in};
use crate::control::state::ApiState;
use crate::drill::{DrillPlan, LostSet};

/// Longest body in octets: as that of a simulation.
const MAX_BODY: usize = 1 << 20;

/// Describes a correct body, for error messages.
const EXPECTED: &str = "expected {\"drill\": \"lose-region\", \"target\": \"NAME\", \"for\": \"60s\"}";

/// For how long the queries are counted, where the request does not say how many there are.
const COUNT_FOR: Duration = Duration::from_secs(1);

/// `GET /v1/drill`.
pub(in crate::control) async fn show(Shared(state): Shared<ApiState>) -> Response {
    let drill = state.controls.drill.status().as_deref().cloned();
    Json(DrillShown { drill, dns: state.controls.drill.dns() }).into_response()
}

/// `POST /v1/drill`.
pub(in crate::control) async fn begin(Shared(state): Shared<ApiState>, caller: Caller, request: Request) -> Response {
    let done = async {
        let holder = operator(&state, &caller)?;
        let body = body(request, MAX_BODY, EXPECTED).await?;
        let request: PostDrill = json::object(&body).map_err(|error| bad_request(format!("{error}; {EXPECTED}")))?;
        let lasting = lasting(&request.lasting).map_err(bad_request)?;
        if let Some(why) = state.controls.drill.busy() {
            return Err(Box::new(problem(StatusCode::CONFLICT, format!("the drill is refused: {why}"))));
        }
        let is_dry = request.dry_run;
        // Planning takes a second or more.
        let announced = (!is_dry).then(|| state.controls.drill.announce());
        let (mut plan, lost) = planned(&state, &caller, request, lasting).await?;
        plan.dns = state.controls.drill.dns();
        let Some(announced) = announced else { return Ok(Json(plan).into_response()) };
        let plan = Arc::new(plan);
        Ok(run(Session { state: state.clone(), announced, plan, lost, lasting, who: holder.name }))
    };
    done.await.unwrap_or_else(|error: ErrorResponse| *error)
}

/// `PUT /v1/drill/ID`: the client of the drill is there.
pub(in crate::control) async fn renew(Shared(state): Shared<ApiState>, caller: Caller, id: PathName) -> Response {
    let done = async {
        operator(&state, &caller)?;
        let id = name_in(id)?;
        match id.parse().is_ok_and(|id| state.controls.drill.renew(id, clock::now())) {
            true => Ok(show(Shared(state)).await),
            false => Err(Box::new(problem(StatusCode::NOT_FOUND, "this drill does not run"))),
        }
    };
    done.await.unwrap_or_else(|error: ErrorResponse| *error)
}

/// `DELETE /v1/drill`: ends the drill that runs, or that is planned and begins soon.
pub(in crate::control) async fn stop(Shared(state): Shared<ApiState>, caller: Caller) -> Response {
    let done = async {
        let holder = operator(&state, &caller)?;
        match state.controls.drill.stop(&holder.name) {
            true => Ok(show(Shared(state)).await),
            false => Err(Box::new(problem(StatusCode::NOT_FOUND, "no drill of this server runs or begins soon"))),
        }
    };
    done.await.unwrap_or_else(|error: ErrorResponse| *error)
}

/// The operator who calls. A drill is about all zones.
fn operator(state: &ApiState, caller: &Caller) -> Result<Holder, ErrorResponse> {
    caller.check_origin(state)?;
    let holder = caller.holder(state, Role::Operate)?;
    if holder.rights.zones().is_some() {
        state.controls.access.refusals.count(Refusal::Role);
        let detail = format!("the token of `{}` is for some zones, and a drill is about all", holder.name);
        return Err(Box::new(problem(StatusCode::FORBIDDEN, detail)));
    }
    Ok(holder)
}

fn lasting(text: &str) -> Result<Duration, String> {
    let lasting = duration_of(text).map_err(|why| format!("\"for\": {why}"))?;
    if !(SHORTEST..=LONGEST).contains(&lasting) {
        let (shortest, longest) = (SHORTEST.as_secs(), LONGEST.as_secs());
        return Err(format!("\"for\": a drill lasts {shortest} to {longest} s; found `{text}`"));
    }
    Ok(lasting)
}

/// Plans a drill on a thread for calls that cost much.
async fn planned(
    state: &ApiState,
    caller: &Caller,
    mut request: PostDrill,
    lasting: Duration,
) -> Result<(DrillPlan, LostSet), ErrorResponse> {
    let share = state.simulations.share(caller.client)?;
    if request.qps.is_none() && request.demand.is_empty() {
        request.qps = queries_now(state).await;
    }
    let (snapshots, own) = (state.snapshots.clone(), caller.client);
    let node = state.fleet.is_some().then(|| state.journal.node().to_owned());
    let planned = state.simulations.run(move || {
        let _share = share;
        plan(&snapshots.load_full(), &request, lasting, own, node.as_deref())
    });
    planned.await?.map_err(|refusal| {
        Box::new(match refusal {
            DrillRefusal::Unknown(why) => problem(StatusCode::NOT_FOUND, why),
            DrillRefusal::Wrong(why) => problem(StatusCode::BAD_REQUEST, why),
            DrillRefusal::Harmful(why) => problem(StatusCode::CONFLICT, why),
        })
    })
}

/// How many queries a second the server gets now; `None` if that is none, or if it answers no queries.
async fn queries_now(state: &ApiState) -> Option<f64> {
    let board = &state.controls.drill;
    let (before, began) = (board.queries()?, clock::now());
    tokio::time::sleep(COUNT_FOR).await;
    let count = board.queries()?.saturating_sub(before);
    let rate = count as f64 / clock::now().since(began).as_secs_f64();
    Some(rate.round()).filter(|rate| *rate >= 1.0)
}
