//! `GET /v1/names`: an array with each steered name. It is made and sent in pieces, so that 100,000 names need no
//! more memory than a few. `?zone=`, `?name=` and `?preferred=` select names; `?limit=` is the largest number of
//! them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;

use crate::clock;
use crate::control::names::reporter::Reporter;
use crate::control::problem::problem;
use crate::control::state::ApiState;
use crate::model::ZoneId;

/// Names in a piece: about a millisecond of work, so that no other task waits long (judgment).
const PIECE: usize = 32;

/// The query of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NamesQuery {
    zone: Option<String>,
    name: Option<String>,
    preferred: Option<bool>,
    limit: Option<usize>,
}

pub(in crate::control) async fn respond(
    Shared(state): Shared<ApiState>,
    query: Result<Query<NamesQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => {
            let why = error.body_text();
            let detail = format!("expected any of ?zone=&name=&preferred=true|false&limit=NUMBER; {why}");
            return problem(StatusCode::BAD_REQUEST, detail);
        }
    };
    let found = tokio::task::spawn_blocking(move || {
        let snapshot = state.snapshots.load_full();
        let states = state.names.states(&snapshot);
        let reporter = Reporter::new(snapshot, states, clock::now());
        let positions: Vec<_> =
            reporter.positions().filter(|position| query.matches(&reporter, *position)).take(query.limit()).collect();
        (reporter, positions)
    });
    let Ok((reporter, positions)) = found.await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the names could not be read".to_owned());
    };
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces(Arc::new(reporter), positions)))
        .into_response()
}

impl NamesQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    fn matches(&self, reporter: &Reporter, position: (ZoneId, usize)) -> bool {
        let name = reporter.name(position);
        let is_same =
            |wanted: &str, known: &str| wanted.trim_end_matches('.').eq_ignore_ascii_case(known.trim_end_matches('.'));
        let is_zone = |zone: &String| is_same(zone, &reporter.zone(position.0));
        let is_name = |wanted: &String| is_same(wanted, &name.label) || is_same(wanted, &name.owner.to_string());
        self.zone.as_ref().is_none_or(is_zone)
            && self.name.as_ref().is_none_or(is_name)
            && self.preferred.is_none_or(|preferred| reporter.state(position).preferred == preferred)
    }
}

/// The text of the array, some names at a time.
fn pieces(
    reporter: Arc<Reporter>,
    positions: Vec<(ZoneId, usize)>,
) -> impl stream::Stream<Item = Result<String, Infallible>> {
    let total = positions.len();
    let piece = move |at: Option<usize>| {
        let (reporter, names) = (reporter.clone(), &positions);
        let at = at?;
        let end = (at + PIECE).min(total);
        let each: Vec<String> = names[at..end].iter().map(|position| json(&reporter.report(*position))).collect();
        let (begin, mark) = (if at == 0 { "[" } else { "" }, if end == total { "]" } else { "," });
        Some((Ok(format!("{begin}{}{mark}", each.join(","))), (end < total).then_some(end)))
    };
    stream::iter(std::iter::successors(Some(()), |()| Some(())).scan(Some(0), move |at, ()| {
        let (text, next) = piece(*at)?;
        *at = next;
        Some(text)
    }))
}

/// Plain data always serialises; the empty object is never used.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}
