//! The page at `/`: one text with its style sheet and its script, which are files of `web`. The script reads the calls
//! of the API that everybody may use: `/v1/status`, `/v1/names`, `/v1/history`, `/v1/explain`, `/v1/simulate`, and the
//! stream `/v1/events`. It inserts what it reads as text only.
//!
//! For browsers without scripts, and for programs that read text, the page has a board in `noscript`, which the server
//! renders: problems, names, feeds, and the endpoints of each region. All text from files is escaped.

mod alerts;
mod assembly;
mod feeds;
mod names;
mod regions;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use domain::utils::base64;
use ring::digest::{SHA256, digest};

use crate::clock;
use crate::control::compression::{Coding, mark};
use crate::control::feeds::feeds as all_feeds;
use crate::control::names::{NameReport, Reporter};
use crate::control::state::ApiState;
use crate::control::status::{self, Status};
use crate::printable::{escaped, escaped_html};

/// Most names on the page (judgment). Names that do not give what their policy prefers come first.
const SHOWN_NAMES: usize = 50;

/// `GET /`.
pub(super) async fn index(Shared(state): Shared<ApiState>, headers: HeaderMap) -> Response {
    let (own, coding) = (state.clone(), Coding::accepted(&headers));
    let page = match state.texts.page.result(&state.costly, coding, move || page_data(&own).page().into()).await {
        Ok(page) => page,
        Err(error) => return *error,
    };
    let tag = tag_of(&page);
    let mut response = match has(&headers, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => mark(Html(page).into_response(), coding),
    };
    let fields = response.headers_mut();
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    fields.insert(header::CACHE_CONTROL, REVALIDATE);
    fields.insert(header::CONTENT_SECURITY_POLICY, assembly::POLICY.clone());
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    response
}

/// A browser may store the page, and asks whether it is still the same each time.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Octets of the digest in an entity tag (judgment: nobody gains by a page with the tag of another).
const TAG: usize = 12;

/// The entity tag of a page: the beginning of its digest, so that each coding has its own (RFC 9110, 8.8.3).
fn tag_of(page: &[u8]) -> String {
    let digest = digest(&SHA256, page);
    format!("\"{}\"", base64::encode_string(&digest.as_ref()[..TAG]))
}

/// Whether the client has the page with this tag (If-None-Match; RFC 9110, 13.1.2).
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let fields = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|field| field.to_str().ok());
    let mut tags = fields.flat_map(|field| field.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The data of the board.
struct PageData {
    status: Status,
    /// The regions, in the order of the files.
    regions: Vec<String>,
    names: Vec<NameReport>,
    /// How many names there are in all.
    all_names: usize,
}

fn page_data(state: &ApiState) -> PageData {
    let (snapshot, now) = (state.snapshots.load_full(), clock::now());
    let mut status = status::status(&snapshot, &state.reload.load(), now);
    state.add_feeds(&mut status, &snapshot.model, now);
    status.complete(&state.controls.disk, state.controls.spread.as_ref(), now);
    let regions = snapshot.model.regions.iter().map(|region| region.name.clone()).collect();
    let reporter = Reporter::new(snapshot.clone(), state.names.states(&snapshot), now);
    let lacks_preferred = |position: &_| !reporter.state(*position).preferred;
    let first = reporter.positions().filter(lacks_preferred);
    let shown = first.chain(reporter.positions().filter(|position| !lacks_preferred(position))).take(SHOWN_NAMES);
    let names = shown.map(|position| reporter.report(position)).collect();
    PageData { status, regions, names, all_names: reporter.positions().count() }
}

impl PageData {
    fn page(&self) -> String {
        assembly::page(&self.board())
    }

    /// The part that changes: problems, names, then a section for each region that has endpoints.
    fn board(&self) -> String {
        let mut html = String::new();
        self.summary(&mut html);
        alerts::write(&mut html, &self.status, &self.names);
        names::write(&mut html, &self.names, self.all_names);
        feeds::write(&mut html, &all_feeds(&self.status));
        for region in &self.regions {
            regions::write(&mut html, &self.status, Some(region));
        }
        regions::write(&mut html, &self.status, None);
        html
    }

    fn summary(&self, html: &mut String) {
        let status = &self.status;
        let _ = write!(html, "<p class=\"summary\">Generation {}. Vantages: ", status.generation);
        let vantages = status.vantages.iter().map(|v| {
            let state = escape(&v.state);
            format!("{} ({}) <span class=\"badge {state}\">{state}</span>", escape(&v.name), escape(&v.region))
        });
        let vantages: Vec<String> = vantages.collect();
        let _ =
            writeln!(html, "{}.</p>", if vantages.is_empty() { "none yet".to_owned() } else { vantages.join(", ") });
    }
}

/// `text` as HTML text or attribute value, on one line and without what changes its direction.
fn escape(text: &str) -> String {
    escaped_html(&escaped(text))
}
