//! The view of the feeds: sources of endpoints, sinks of events and followed streams, those with a problem first.

use ratatui::layout::Rect;

use super::details;
use super::paint::{Canvas, Toned, plain, toned};
use super::tone::Tone;
use crate::cli::text;
use crate::cli::top::state::{TopState, TopView};
use crate::control::feeds::{FeedLevel, FeedRow, feeds};

/// Draws the view.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &mut TopState, area: Rect) {
    let Some(readout) = state.readout.take() else { return };
    let all = feeds(&readout.status);
    let mut shown: Vec<&FeedRow> =
        all.iter().filter(|feed| state.passes([feed.name.as_str(), &feed.kind, &feed.place])).collect();
    shown.sort_by_key(|feed| (feed.level, feed.problem.is_none()));
    let selected = state.selected(TopView::Sources, shown.len());
    let about = shown.get(selected).map(|feed| about(feed)).unwrap_or_default();
    let table = details(canvas, area, &about);
    if shown.is_empty() {
        let why = match all.is_empty() {
            true => "No policy has [discover.NAME], and no setting has [sink.NAME] or [follow.NAME].",
            false => "No source, sink or stream has this text.",
        };
        canvas.line(table, 0, &[toned(why, Tone::Soft)]);
    } else {
        let headings = ["FEED", "TYPE", "STATE", "COUNTS", "LAST CHANGE"];
        canvas.table(table, (&headings, &[0, 2]), (shown.len(), selected), |at| line(shown[at]));
    }
    state.readout = Some(readout);
}

fn tone(level: FeedLevel) -> Tone {
    match level {
        FeedLevel::Bad => Tone::Bad,
        FeedLevel::Note => Tone::Warning,
        FeedLevel::Unknown => Tone::Soft,
        FeedLevel::Good => Tone::Good,
    }
}

fn line(feed: &FeedRow) -> Vec<Toned> {
    vec![
        plain(feed.name.clone()),
        toned(feed.kind.clone(), Tone::Soft),
        toned(feed.state_text(text::span), tone(feed.level)),
        plain(feed.counts.clone()),
        toned(feed.changed_text(), Tone::Soft),
    ]
}

/// Everything that is known of a feed.
fn about(feed: &FeedRow) -> Vec<Toned> {
    let FeedRow { name, kind, place, counts, .. } = feed;
    let state = feed.state_text(text::span);
    let mut texts = vec![toned(format!("{name} ({kind}, {place}): {state}; {counts}"), tone(feed.level))];
    texts.extend(feed.problem.clone().map(plain));
    texts
}
