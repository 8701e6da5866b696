//! The header: who the server is, how it fares, and whether the picture is of now.

use std::time::Duration;

use ratatui::layout::Rect;

use super::paint::{Canvas, Toned, bars, plain, toned, width};
use super::tone::Tone;
use super::{SHORT, rate};
use crate::cli::text;
use crate::cli::top::state::{TopState, TopView};
use crate::control::status::{Status, VantageStatus};
use crate::model::Moment;

/// Most cells of the chart of queries: a minute has 60 values.
const SPARK: usize = 60;

/// A chart of fewer cells shows nothing.
const LEAST_SPARK: usize = 10;

/// A picture of this age is marked as old, although no call has failed yet. Judgment: reads come every two seconds, so
/// three have no reply.
const OLD: Duration = Duration::from_secs(6);

/// Draws the header at the top of `area`, and returns its height.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &TopState, area: Rect, now: Moment) -> u16 {
    let mut row = 0;
    let mut line = |canvas: &mut Canvas<'_>, texts: &[Toned]| {
        canvas.line(area, row, texts);
        row += 1;
    };
    if area.height >= SHORT {
        line(canvas, &identity(state, now));
    }
    if let Some(alarm) = alarm(state, now) {
        line(canvas, &[toned(alarm, Tone::Alarm)]);
    }
    if let Some(readout) = &state.readout {
        line(canvas, &facts(state, &readout.status, usize::from(area.width)));
        if area.height >= SHORT {
            line(canvas, &vantages(&readout.status.vantages));
        }
    }
    line(canvas, &tabs(state, usize::from(area.width)));
    row
}

fn identity(state: &TopState, now: Moment) -> Vec<Toned> {
    let mut texts = vec![toned("Portolan ", Tone::Strong)];
    if let Some(readout) = &state.readout {
        if let Some(server) = &readout.status.server {
            let uptime = text::span(Duration::from_secs(server.uptime_s));
            texts.push(toned(server.node.clone(), Tone::Strong));
            texts.push(plain(format!(" {}  up for {uptime}", server.version)));
        }
        let generation = readout.status.generation;
        texts.push(plain(format!("  generation {generation}")));
        if !readout.status.reload.ok {
            texts.push(toned(" files refused", Tone::Bad));
        }
    }
    texts.push(toned(format!("  {}", state.server), Tone::Soft));
    if state.away.is_none() && state.readout.is_some() && state.age(now) < OLD {
        texts.push(match state.is_streaming {
            true => toned("  live", Tone::Good),
            false => toned("  without events", Tone::Warning),
        });
    }
    texts
}

/// What must be noticed: that the server is away, or a drill.
fn alarm(state: &TopState, now: Moment) -> Option<String> {
    let age = state.age(now);
    let old = format!("what is shown is {} old", text::span(age));
    match (&state.away, &state.readout) {
        (Some(why), Some(_)) => return Some(format!(" NO ANSWER, {old}: {why} ")),
        (Some(why), None) => return Some(format!(" NO ANSWER: {why} ")),
        (None, Some(_)) if age >= OLD => return Some(format!(" NO ANSWER YET, {old} ")),
        (None, _) => {}
    }
    let drill = state.readout.as_ref()?.status.drill.as_ref()?;
    let left = Duration::try_from_secs_f64(drill.ends_at - state.server_time(now)).unwrap_or_default();
    let (kind, target) = (drill.drill.as_str(), &drill.target);
    let until = format!("{}, at most {} more", drill.phase, text::span(left));
    drill.restored_at.is_none().then(|| format!(" DRILL {kind} {target} by {}: {until} ", drill.who))
}

fn facts(state: &TopState, status: &Status, room: usize) -> Vec<Toned> {
    let digest = &state.digest;
    let all = digest.endpoints.len();
    let last = if digest.is_last_known { ", last known" } else { "" };
    let tone = match digest.up {
        _ if digest.is_last_known => Tone::Warning,
        up if up == all => Tone::Good,
        0 => Tone::Bad,
        _ => Tone::Warning,
    };
    let mut texts = vec![toned(format!("{} of {all} up{last}", digest.up), tone), plain("  ")];
    let away = state.readout.as_ref().map_or(0, |readout| readout.away.len());
    texts.push(match away {
        0 => toned("names as preferred", Tone::Good),
        1 => toned("1 name not as preferred", Tone::Warning),
        away => toned(format!("{away} names not as preferred"), Tone::Warning),
    });
    let out = digest.endpoints.iter().filter(|place| !place.out.is_empty()).count();
    if out > 0 {
        texts.push(toned(format!("  {out} overridden"), Tone::Operator));
    }
    if let Some(traffic) = status.server.as_ref().and_then(|server| server.traffic.as_ref()) {
        texts.push(plain(format!("  {} queries/s ", rate(traffic.qps))));
        let taken: usize = texts.iter().map(|each| width(&each.text)).sum();
        let left = room.saturating_sub(taken).min(SPARK);
        if left >= LEAST_SPARK {
            let recent: Vec<Option<f32>> = traffic.recent.iter().copied().map(Some).collect();
            texts.push(toned(bars(&recent, left), Tone::Soft));
        }
    }
    texts
}

/// The vantages; those that are not up come first.
fn vantages(all: &[VantageStatus]) -> Vec<Toned> {
    let mut sorted: Vec<&VantageStatus> = all.iter().collect();
    sorted.sort_by_key(|vantage| vantage.state == "up");
    let mut texts = vec![toned("vantages  ", Tone::Soft)];
    for VantageStatus { name, region, state, age_ms, .. } in sorted {
        let since = age_ms.map_or(String::new(), |age| format!(" for {}", super::millis_ago(age)));
        texts.push(plain(format!("{name} {region} ")));
        texts.push(toned(format!("{state}{since}"), Tone::of_health(state)));
        texts.push(plain("  "));
    }
    if all.is_empty() {
        texts.push(toned("none", Tone::Warning));
    }
    texts
}

/// The names of the views; only the numbers of the others, where there is no room.
fn tabs(state: &TopState, room: usize) -> Vec<Toned> {
    let all = |has_names: bool| {
        let tab = |(at, view): (usize, &TopView)| {
            let is_open = *view == state.view;
            let text = match is_open {
                true => format!("[{} {}]", at + 1, view.title()),
                false if has_names => format!(" {} {} ", at + 1, view.title()),
                false => format!(" {} ", at + 1),
            };
            toned(text, if is_open { Tone::Strong } else { Tone::Soft })
        };
        TopView::ALL.iter().enumerate().map(tab).collect::<Vec<_>>()
    };
    let texts = all(true);
    if texts.iter().map(|tab| width(&tab.text)).sum::<usize>() <= room { texts } else { all(false) }
}
