//! `GET /v1/names`: an array with each steered name, made and sent piece by piece, so that 100,000 names take no more memory
//! than a few. `?zone=`, `?name=` and `?preferred=` say which, `?limit=` how many at most.

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

/// Names in a piece: about a millisecond of work, so that no other task waits long for its turn (judgment).
const PIECE: usize = 32;

/// What is asked for.
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
    asked: Result<Query<NamesQuery>, QueryRejection>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(refused) => {
            let why = refused.body_text();
            let detail = format!("expected any of ?zone=&name=&preferred=true|false&limit=NUMBER; {why}");
            return problem(StatusCode::BAD_REQUEST, detail);
        }
    };
    let found = tokio::task::spawn_blocking(move || {
        let snapshot = state.snapshots.load_full();
        let states = state.names.states(&snapshot);
        let reporter = Reporter::new(snapshot, states, clock::now());
        let places: Vec<_> =
            reporter.places().filter(|place| asked.matches(&reporter, *place)).take(asked.limit()).collect();
        (reporter, places)
    });
    let Ok((reporter, places)) = found.await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the names could not be read".to_owned());
    };
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces(Arc::new(reporter), places)))
        .into_response()
}

impl NamesQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    fn matches(&self, reporter: &Reporter, place: (ZoneId, usize)) -> bool {
        let name = reporter.name(place);
        let is_same =
            |asked: &str, known: &str| asked.trim_end_matches('.').eq_ignore_ascii_case(known.trim_end_matches('.'));
        let is_zone = |zone: &String| is_same(zone, &reporter.zone(place.0));
        let is_name = |asked: &String| is_same(asked, &name.label) || is_same(asked, &name.owner.to_string());
        self.zone.as_ref().is_none_or(is_zone)
            && self.name.as_ref().is_none_or(is_name)
            && self.preferred.is_none_or(|preferred| reporter.state(place).preferred == preferred)
    }
}

/// The array's text, some names at a time.
fn pieces(
    reporter: Arc<Reporter>,
    places: Vec<(ZoneId, usize)>,
) -> impl stream::Stream<Item = Result<String, Infallible>> {
    let total = places.len();
    let piece = move |at: Option<usize>| {
        let (reporter, names) = (reporter.clone(), &places);
        let at = at?;
        let end = (at + PIECE).min(total);
        let each: Vec<String> = names[at..end].iter().map(|place| json(&reporter.report(*place))).collect();
        let (begin, mark) = (if at == 0 { "[" } else { "" }, if end == total { "]" } else { "," });
        Some((Ok(format!("{begin}{}{mark}", each.join(","))), (end < total).then_some(end)))
    };
    stream::iter(std::iter::successors(Some(()), |()| Some(())).scan(Some(0), move |at, ()| {
        let (text, next) = piece(*at)?;
        *at = next;
        Some(text)
    }))
}

/// Plain data can't fail to serialise.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}
