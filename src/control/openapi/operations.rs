//! What each path of the API does: the operations of the document.

use serde_json::{Value, json};

use crate::config::Role;
use crate::control::command::{OverrideResponse, OverridesResponse, PostReload, PutOverride, ReloadResponse};
use crate::control::drill::{DrillShown, PostDrill};
use crate::control::events::EventsQuery;
use crate::control::explain::Explanation;
use crate::control::failback::FailbackResponse;
use crate::control::heartbeat::{HeartbeatResponse, PutHeartbeat};
use crate::control::history::{HistoryQuery, HistoryReport};
use crate::control::http::ExplainQuery;
use crate::control::journal::JournalEvent;
use crate::control::names::{NameReport, NamesQuery};
use crate::control::openapi::operation::{Operation, ResponseContent, Shape};
use crate::control::openapi::routes::ApiRoute;
use crate::control::operate::{MAX_TARGETS, ReloadQuery};
use crate::control::overrides::OverrideReport;
use crate::control::simulate::{SimulationRequest, SimulationResult};
use crate::control::status::Status;
use crate::drill::DrillPlan;

impl ApiRoute {
    /// Its operations, one for each method.
    pub(super) fn operations(self) -> Vec<Operation> {
        match self {
            ApiRoute::Index => vec![
                Operation::get("The page", ResponseContent::Text("text/html"))
                    .costs_much()
                    .with(field("If-None-Match", "The ETag of the page that the client has"))
                    .or(304, "The client has this page already.", None),
            ],
            ApiRoute::Healthz => vec![text("Whether the process runs")],
            ApiRoute::Readyz => {
                let when = "It does not answer queries yet, or no longer.";
                vec![text("Whether the server answers queries").or(503, when, Some("text/plain"))]
            }
            ApiRoute::Metrics => vec![text("All metrics, in the text format of Prometheus").costs_much()],
            ApiRoute::Document => vec![Operation::get("This document", ResponseContent::Object)],
            ApiRoute::Status => {
                let what = "Every endpoint as each vantage sees it, overrides, and the state of the server";
                vec![Operation::get(what, json_of::<Status>()).costs_much()]
            }
            ApiRoute::Transitions => {
                vec![Operation::get("The last events, newest first", list_of::<JournalEvent>())]
            }
            ApiRoute::Explain => vec![
                Operation::get("Why a client gets its answer", json_of::<Explanation>())
                    .queried_by::<ExplainQuery>()
                    .costs_much()
                    .fails(404, "The name is not steered"),
            ],
            ApiRoute::Simulate => vec![
                Operation::post("What a loss or an override would change", json_of::<SimulationResult>())
                    .optionally_taking::<SimulationRequest>()
                    .costs_much()
                    .fails(413, "The simulation is too large for a server that answers queries")
                    .fails(429, "Too many simulations run"),
            ],
            ApiRoute::Names => vec![
                Operation::get("What each class of clients gets for each steered name", list_of::<NameReport>())
                    .queried_by::<NamesQuery>()
                    .costs_much(),
            ],
            ApiRoute::History => vec![
                Operation::get("Answers and round-trip times of the last hour", json_of::<HistoryReport>())
                    .queried_by::<HistoryQuery>()
                    .costs_much(),
            ],
            ApiRoute::Events => vec![
                Operation::get("The events, as server-sent events", ResponseContent::Text("text/event-stream"))
                    .queried_by::<EventsQuery>()
                    .with(field("Last-Event-ID", "The id of the last event that the client has; goes before `since`"))
                    .fails(404, "`fleet=true`, and this node is no server of a fleet")
                    .fails(503, "Too many clients follow the events, or those of the fleet were not read yet"),
            ],
            ApiRoute::Overrides => overrides(),
            ApiRoute::Override => override_of_target(),
            ApiRoute::Failback => vec![
                stops(Operation::post("Return a name to its first member that is up", json_of::<FailbackResponse>()))
                    .at("name", "The full name, or the name as its policy file writes it", some_text())
                    .by(Role::Operate)
                    .fails(404, "There is no such name")
                    .fails(409, "Its failback is not manual, or its lease stays"),
            ],
            ApiRoute::Drill => drill(),
            ApiRoute::DrillRenewal => vec![
                Operation::put("The client of a drill is there", json_of::<DrillShown>())
                    .at("id", "The number of the drill", json!({ "type": "integer", "minimum": 0 }))
                    .by(Role::Operate)
                    .fails(404, "This drill does not run"),
            ],
            ApiRoute::Heartbeat => heartbeat(),
            ApiRoute::Reload => vec![
                stops(Operation::post("Load the files as they are now", json_of::<ReloadResponse>()))
                    .queried_by::<ReloadQuery>()
                    .optionally_taking::<PostReload>()
                    .partly_by(Role::Operate)
                    .fails(422, "Some files have errors; the others were loaded"),
            ],
        }
    }
}

fn overrides() -> Vec<Operation> {
    let of = "A TARGET: an endpoint, a glob, `pool:NAME`, `region:NAME` or `zone:NAME`";
    let what = format!("{of}; may be repeated, up to {MAX_TARGETS} in all");
    let targets = || {
        json!({
            "name": "target", "in": "query", "required": true, "description": what,
            "schema": { "type": "array", "items": some_text(), "minItems": 1 },
        })
    };
    vec![
        Operation::get("The overrides in force", list_of::<OverrideReport>()).by(Role::Read),
        put_override(Operation::put("Set overrides", json_of::<OverridesResponse>()).with(targets())),
        end_override(Operation::delete("End overrides", json_of::<OverridesResponse>()).with(targets())),
    ]
}

fn override_of_target() -> Vec<Operation> {
    let target = "The TARGET: an endpoint, a glob, `pool:NAME`, `region:NAME` or `zone:NAME`";
    vec![
        put_override(Operation::put("Set one override", json_of::<OverrideResponse>()).at(
            "target",
            target,
            some_text(),
        )),
        end_override(Operation::delete("End one override", json_of::<OverrideResponse>()).at(
            "target",
            target,
            some_text(),
        )),
    ]
}

fn put_override(operation: Operation) -> Operation {
    stops(operation)
        .taking::<PutOverride>()
        .by(Role::Operate)
        .fails(404, "A target matches no endpoint")
        .fails(409, "Some clients would get no answer, which has to be confirmed; or there are too many overrides")
}

fn end_override(operation: Operation) -> Operation {
    stops(operation).by(Role::Operate).fails(404, "A target has no override")
}

fn drill() -> Vec<Operation> {
    let begin = "Plan a drill (`dry_run`), or run it: then the response is the stream of its status";
    vec![
        Operation::get("The drill that runs, or the last one", json_of::<DrillShown>()),
        Operation::post(begin, ResponseContent::JsonOrEvents(Shape::of::<DrillPlan>()))
            .taking::<PostDrill>()
            .by(Role::Operate)
            .costs_much()
            .fails(404, "There is no such region, endpoint or vantage")
            .fails(409, "Another drill runs, or this one would do harm")
            .fails(429, "Too many simulations run"),
        Operation::delete("End the drill that runs", json_of::<DrillShown>())
            .by(Role::Operate)
            .fails(404, "No drill of this server runs"),
    ]
}

fn heartbeat() -> Vec<Operation> {
    let of_endpoint = |operation: Operation| {
        operation
            .at("endpoint", "The endpoint", some_text())
            .by(Role::Beat)
            .fails(404, "There is no such endpoint")
            .fails(409, "It has no monitor of type heartbeat")
            .fails(429, "Heartbeats of this endpoint come too often")
            .fails(503, "Too many heartbeats wait")
    };
    vec![
        of_endpoint(Operation::put("A service is alive", json_of::<HeartbeatResponse>()))
            .optionally_taking::<PutHeartbeat>(),
        of_endpoint(Operation::delete("A service stops", json_of::<HeartbeatResponse>())),
    ]
}

fn text(what: &'static str) -> Operation {
    Operation::get(what, ResponseContent::Text("text/plain"))
}

/// A call whose command the steering task executes.
fn stops(operation: Operation) -> Operation {
    operation.fails(503, "The server is stopping")
}

fn json_of<T: utoipa::ToSchema>() -> ResponseContent {
    ResponseContent::Json(Shape::of::<T>())
}

fn list_of<T: utoipa::ToSchema>() -> ResponseContent {
    ResponseContent::List(Shape::of::<T>())
}

/// A parameter that is a field of the request's head.
fn field(name: &str, what: &str) -> Value {
    json!({ "name": name, "in": "header", "required": false, "description": what, "schema": { "type": "string" } })
}

/// A text that is not empty.
fn some_text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}
