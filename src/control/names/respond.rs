//! `GET /v1/names`: an array with each steered name. It is made and sent in pieces, so that 100,000 names need no
//! more memory than a few. `?zone=`, `?name=`, `?search=` (a part of the full name) and `?preferred=` select names;
//! `?limit=` is the largest number of them.

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::{Stream, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admission::SiteShare;
use crate::clock;
use crate::control::caller::Caller;
use crate::control::compression::{Coding, GzipPieces, mark};
use crate::control::costly::Costly;
use crate::control::json;
use crate::control::names::reporter::Reporter;
use crate::control::problem::problem;
use crate::control::state::ApiState;
use crate::model::ZoneId;
use crate::printable::add_json;

/// Names in a piece: some milliseconds of work, so that no other call waits long, and passing it from thread to thread
/// costs little (judgment).
const PIECE: usize = 128;

/// The query of a request.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NamesQuery {
    /// Only names of this zone.
    zone: Option<String>,
    /// Only this name: the full one, or as its policy file writes it.
    name: Option<String>,
    /// Only names whose clients all get what the policy prefers, or only the others.
    preferred: Option<bool>,
    /// Only names that have this in their full name.
    search: Option<String>,
    /// Most names.
    limit: Option<usize>,
}

pub(in crate::control) async fn respond(
    Shared(state): Shared<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    query: Result<Query<NamesQuery>, QueryRejection>,
) -> Response {
    let coding = Coding::accepted(&headers);
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => {
            let why = error.body_text();
            let detail = format!("expected any of ?zone=&name=&search=&preferred=true|false&limit=NUMBER; {why}");
            return problem(StatusCode::BAD_REQUEST, detail);
        }
    };
    let costly = state.costly.clone();
    let share = match costly.share(caller.client) {
        Ok(share) => share,
        Err(error) => return *error,
    };
    let found = state.costly.run(move || {
        let snapshot = state.snapshots.load_full();
        let states = state.names.states(&snapshot);
        let reporter = Reporter::new(snapshot, states, clock::now()).with_split(state.history.split());
        let positions: Vec<_> =
            reporter.positions().filter(|position| query.matches(&reporter, *position)).take(query.limit()).collect();
        let gzip = (coding == Coding::Gzip).then(GzipPieces::default);
        NamesText { reporter, positions, next: Some(0), longest: 0, gzip, _share: share }
    });
    let text = match found.await {
        Ok(text) => text,
        Err(error) => return *error,
    };
    mark(json::with_type(Body::from_stream(pieces(costly, text))), coding)
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
        let has =
            |part: &String| name.owner.to_string().to_ascii_lowercase().contains(&part.trim().to_ascii_lowercase());
        self.zone.as_ref().is_none_or(is_zone)
            && self.name.as_ref().is_none_or(is_name)
            && self.search.as_ref().is_none_or(has)
            && self.preferred.is_none_or(|preferred| reporter.state(position).preferred == preferred)
    }
}

/// The text of the array that is being sent.
struct NamesText {
    reporter: Reporter,
    positions: Vec<(ZoneId, usize)>,
    /// The first name of the next piece; `None` at the end.
    next: Option<usize>,
    /// Octets of the longest piece.
    longest: usize,
    /// Where the client accepts gzip.
    gzip: Option<GzipPieces>,
    _share: SiteShare,
}

impl NamesText {
    fn next_piece(&mut self) -> Option<Bytes> {
        let (at, total) = (self.next?, self.positions.len());
        let end = (at + PIECE).min(total);
        let mut text = Vec::with_capacity(self.longest);
        if at == 0 {
            text.push(b'[');
        }
        for (nth, position) in (at..).zip(&self.positions[at..end]) {
            if nth > 0 {
                text.push(b',');
            }
            add_json(&mut text, &self.reporter.report(*position));
        }
        if end == total {
            text.push(b']');
        }
        self.next = (end < total).then_some(end);
        self.longest = self.longest.max(text.len());
        let Some(gzip) = &mut self.gzip else { return Some(text.into()) };
        let mut packed = gzip.add(&text);
        if self.next.is_none() {
            packed.extend(self.gzip.take().map(GzipPieces::end).unwrap_or_default());
        }
        Some(packed.into())
    }
}

/// The text, some names at a time. The client gets an incomplete text if a piece can't be made: it sees that.
fn pieces(costly: Costly, text: NamesText) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::try_unfold((costly, text), |(costly, mut text)| async move {
        let piece = costly.run_piece(move || text.next_piece().map(|piece| (piece, text)));
        let piece = piece.await.map_err(std::io::Error::other)?;
        Ok(piece.map(|(piece, text)| (piece, (costly, text))))
    })
}
