//! The view of the last hour: queries, answers of each region, and round-trip times between regions.

use ratatui::layout::Rect;

use super::paint::{Canvas, Toned, bars, plain, toned, width};
use super::rate;
use super::tone::Tone;
use crate::cli::top::state::{TopState, TopView};
use crate::control::history::{HistoryReport, SeriesReport};

/// Most cells of the names of the series, as a part of the line: the chart needs the rest.
const LABEL_PART: usize = 3;

/// Draws the view.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &mut TopState, area: Rect) {
    let Some(history) = state.history.take() else {
        return canvas.line(area, 0, &[toned("The first samples come within seconds.", Tone::Soft)]);
    };
    let all = series(state, &history);
    let selected = state.selected(TopView::Charts, all.len());
    let label = all.iter().map(|(label, ..)| width(label)).max().unwrap_or(0).min(usize::from(area.width) / LABEL_PART);
    // The mark, the gaps, and two columns of up to eight cells.
    let room = usize::from(area.width).saturating_sub(label + 2 + 6 + 18).max(1);
    let headings = ["SERIES", "NOW", "MOST", "LAST HOUR"];
    canvas.table(area, (&headings, &[0, 1]), (all.len(), selected), |at| line(&all[at], room));
    if history.left_out + history.not_stored > 0 && area.height > 2 {
        let more = format!("and {} more series, which /v1/history has", history.left_out + history.not_stored);
        canvas.line(area, area.height - 1, &[toned(more, Tone::Soft)]);
    }
    state.history = Some(history);
}

/// A label, a unit, and the values.
type Chart<'h> = (String, &'static str, &'h [Option<f32>]);

fn series<'h>(state: &TopState, history: &'h HistoryReport) -> Vec<Chart<'h>> {
    let mut all: Vec<Chart<'h>> = vec![("queries".to_owned(), "/s", &history.qps)];
    for SeriesReport { kind, region, from, values, .. } in &history.series {
        let region = region.as_deref().unwrap_or("no region");
        all.push(match (kind.as_str(), from) {
            ("rtt", Some(from)) => (format!("RTT {from} to {region}"), " ms", values),
            (_, _) => (format!("answers of {region}"), "/s", values),
        });
    }
    all.retain(|(label, ..)| state.passes([label.as_str()]));
    all
}

fn line((label, unit, values): &Chart<'_>, room: usize) -> Vec<Toned> {
    let shown = |value: Option<f32>| value.map_or("-".to_owned(), |value| format!("{}{unit}", rate(value)));
    let most = values.iter().flatten().copied().reduce(f32::max);
    vec![
        plain(label.clone()),
        toned(shown(values.last().copied().flatten()), Tone::Strong),
        plain(shown(most)),
        toned(bars(values, room), Tone::Soft),
    ]
}
