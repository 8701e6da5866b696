//! The view of the map: the regions at their places, and an arc from each region with a vantage to each other one.
//! An arc is made of signs that depend on what the vantages observe, so that it can be read without colour.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas as MapCanvas, Map, MapResolution};

use super::paint::{Canvas, Toned, fit, plain, toned, width};
use super::percent;
use super::tone::Tone;
use crate::cli::top::digest::{Condition, RegionDigest, RegionSight};
use crate::cli::top::state::{TopState, TopView};
use crate::control::history::HistoryReport;

/// The map shows at least so many degrees of longitude: a single region needs surroundings.
const LEAST_DEGREES: f64 = 70.0;

/// A smaller area has a table of the regions in place of the map.
const LEAST_MAP: (u16, u16) = (40, 9);

/// Most columns and rows of the land: more cells than 16 bits can count would break a library that counts so.
const MOST_MAP: (u16, u16) = (400, 120);

/// With more arcs the texts on them would hide each other; the matrix has all round-trip times.
const MOST_LABELS: usize = 12;

/// Steps of an arc: more than a window has columns.
const STEPS: u32 = 600;

/// Draws the view.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &mut TopState, area: Rect) {
    let Some(readout) = state.readout.take() else { return };
    let has_place = state.digest.regions.iter().any(|region| spot_of(region).is_some());
    let shares = shares(state.history.as_ref());
    if has_place && area.width >= LEAST_MAP.0 && area.height >= LEAST_MAP.1 {
        let foot = Rect { y: area.y + area.height - 1, height: 1, ..area };
        let map = Rect { height: area.height - 1, ..area };
        let spots: Vec<Spot<'_>> = state.digest.regions.iter().filter_map(spot_of).collect();
        let frame = WorldFrame::of(&spots, map);
        land(canvas, &frame);
        let sight = |from: &Spot<'_>, to: &Spot<'_>| state.digest.sight(&readout.status, &from.region.name, to.region);
        arcs(canvas, &frame, &spots, sight);
        markers(canvas, &frame, &spots, &shares);
        let regions = state.digest.regions.iter().filter(|of| of.location.is_none() && !of.endpoints.is_empty());
        canvas.line(foot, 0, &legend(regions));
    } else {
        table(canvas, state, area, has_place, &shares);
    }
    state.readout = Some(readout);
}

/// A region with a location.
#[derive(Clone, Copy)]
struct Spot<'d> {
    region: &'d RegionDigest,
    longitude: f64,
    latitude: f64,
}

fn spot_of(region: &RegionDigest) -> Option<Spot<'_>> {
    let [latitude, longitude] = region.location?;
    let is_shown = region.has_vantage || !region.endpoints.is_empty();
    (is_shown && latitude.is_finite() && longitude.is_finite()).then_some(Spot { region, longitude, latitude })
}

/// The part of the world that an area shows. A degree of longitude is as long as one of latitude: a cell is twice as
/// high as it is wide.
#[derive(Debug, PartialEq)]
struct WorldFrame {
    area: Rect,
    west: f64,
    south: f64,
    per_column: f64,
}

impl WorldFrame {
    fn of(spots: &[Spot<'_>], area: Rect) -> WorldFrame {
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(None, |range: Option<(f64, f64)>, value| {
                Some(range.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
            })
        };
        let (west, east) = range(&mut spots.iter().map(|spot| spot.longitude)).unwrap_or((-180.0, 180.0));
        let (south, north) = range(&mut spots.iter().map(|spot| spot.latitude)).unwrap_or((-60.0, 80.0));
        let (columns, rows) = (f64::from(area.width.max(1)), f64::from(area.height.max(1)));
        let shape = columns / (2.0 * rows);
        let wanted = LEAST_DEGREES.max((east - west) * 1.4).max((north - south) * 1.7 * shape);
        let wide = wanted.min(360_f64.max(180.0 * shape));
        let high = wide / shape;
        let centred = |middle: f64, size: f64, whole: f64| {
            if size >= whole { 0.0 } else { middle.clamp((size - whole) / 2.0, (whole - size) / 2.0) }
        };
        WorldFrame {
            area,
            west: centred((west + east) / 2.0, wide, 360.0) - wide / 2.0,
            south: centred((south + north) / 2.0, high, 180.0) - high / 2.0,
            per_column: wide / columns,
        }
    }

    fn east(&self) -> f64 {
        self.west + self.per_column * f64::from(self.area.width)
    }

    fn north(&self) -> f64 {
        self.south + 2.0 * self.per_column * f64::from(self.area.height)
    }

    /// The cell of a place; `None` outside the area.
    fn cell(&self, longitude: f64, latitude: f64) -> Option<(u16, u16)> {
        let column = ((longitude - self.west) / self.per_column).floor();
        let row = ((self.north() - latitude) / (2.0 * self.per_column)).floor();
        let is_inside =
            (0.0..f64::from(self.area.width)).contains(&column) && (0.0..f64::from(self.area.height)).contains(&row);
        is_inside.then(|| (self.area.x + column as u16, self.area.y + row as u16))
    }
}

fn land(canvas: &mut Canvas<'_>, frame: &WorldFrame) {
    if frame.area.width > MOST_MAP.0 || frame.area.height > MOST_MAP.1 {
        return;
    }
    let map = Map { resolution: MapResolution::High, color: canvas.palette.land() };
    MapCanvas::default()
        .marker(Marker::Braille)
        .x_bounds([frame.west, frame.east()])
        .y_bounds([frame.south, frame.north()])
        .paint(|context| context.draw(&map))
        .render(frame.area, canvas.buffer);
}

/// The sign of an arc.
fn sign(condition: Condition) -> &'static str {
    match condition {
        Condition::Up => "\u{b7}",
        Condition::Partly => "+",
        Condition::Down => "x",
        Condition::Drained => "-",
        Condition::LastKnown => "~",
        Condition::Unknown => "?",
    }
}

fn arcs(
    canvas: &mut Canvas<'_>,
    frame: &WorldFrame,
    spots: &[Spot<'_>],
    sight: impl Fn(&Spot<'_>, &Spot<'_>) -> Option<RegionSight>,
) {
    let mut all = Vec::new();
    for from in spots.iter().filter(|spot| spot.region.has_vantage) {
        for to in spots.iter().filter(|to| to.region.name != from.region.name && !to.region.endpoints.is_empty()) {
            all.extend(sight(from, to).map(|seen| (from, to, seen)));
        }
    }
    // The bad ones are drawn over the others.
    all.sort_by_key(|(_, _, seen)| std::cmp::Reverse(seen.condition));
    let has_labels = all.len() <= MOST_LABELS;
    let mut labels = Vec::new();
    for (from, to, seen) in all {
        let style = canvas.palette.style(Tone::of(seen.condition));
        for step in 0..=STEPS {
            let (longitude, latitude) = curve(from, to, f64::from(step) / f64::from(STEPS));
            if let Some(cell) = frame.cell(longitude, latitude) {
                canvas.buffer[cell].set_symbol(sign(seen.condition)).set_style(style);
            }
        }
        let text = match (seen.condition, seen.rtt_ms) {
            (Condition::Down, _) => "down".to_owned(),
            (_, Some(ms)) => format!("{ms:.0} ms"),
            (_, None) => continue,
        };
        let (longitude, latitude) = curve(from, to, 0.5);
        if let Some((x, y)) = frame.cell(longitude, latitude).filter(|_| has_labels) {
            labels.push((x.saturating_sub(width(&text) as u16 / 2).max(frame.area.x), y, text, style));
        }
    }
    for (x, y, text, style) in labels {
        let room = usize::from(frame.area.x + frame.area.width - x);
        canvas.buffer.set_stringn(x, y, &text, room, style);
    }
}

/// A point of the arc: it bends to the north, and the arcs of the two directions differ.
fn curve(from: &Spot<'_>, to: &Spot<'_>, part: f64) -> (f64, f64) {
    let (wide, high) = (to.longitude - from.longitude, to.latitude - from.latitude);
    let length = wide.hypot(high);
    let side = if wide >= 0.0 { 1.0 } else { 0.45 };
    let bend = (length * 0.28).min(26.0) * side;
    let (x, y) = (from.longitude + wide * part, from.latitude + high * part);
    (x, y + bend * 2.0 * part * (1.0 - part))
}

fn markers(canvas: &mut Canvas<'_>, frame: &WorldFrame, spots: &[Spot<'_>], shares: &[(String, f64)]) {
    let mut taken: Vec<Rect> = Vec::new();
    // The labels of bad regions get the places that they want.
    for spot in spots {
        let Some((x, y)) = frame.cell(spot.longitude, spot.latitude) else { continue };
        taken.push(Rect { x, y, width: 1, height: 1 });
    }
    for spot in spots {
        let Some((x, y)) = frame.cell(spot.longitude, spot.latitude) else { continue };
        let region = spot.region;
        let (tone, mark) = match region.endpoints.is_empty() {
            true => (Tone::Soft, "o"),
            false => (Tone::of(region.condition), mark(region.condition)),
        };
        canvas.buffer.set_stringn(x, y, mark, 1, canvas.palette.style(tone));
        let share = shares.iter().find(|(name, _)| *name == region.name);
        let share = share.map_or(String::new(), |(_, share)| format!(", {} of answers", percent(*share)));
        let second = match region.endpoints.len() {
            0 => region.words.clone(),
            all => format!("{}{share}", up_of(region, all)),
        };
        let lines = [toned(region.name.clone(), Tone::Strong), toned(second, tone)];
        label(canvas.buffer, canvas.palette, (x, y), &lines, frame.area, &mut taken);
    }
}

fn up_of(region: &RegionDigest, all: usize) -> String {
    match region.condition {
        Condition::Up => format!("{} of {all} up", region.up),
        Condition::Down | Condition::Unknown | Condition::Partly | Condition::Drained | Condition::LastKnown => {
            format!("{} of {all} up, {}", region.up, region.words)
        }
    }
}

fn mark(condition: Condition) -> &'static str {
    match condition {
        Condition::Up => "\u{2713}",
        Condition::Partly => "!",
        Condition::Down => "X",
        Condition::Drained => "-",
        Condition::LastKnown => "~",
        Condition::Unknown => "?",
    }
}

/// Writes a label next to a marker, where it covers no other one. Where there is no such place, only the name.
fn label(
    buffer: &mut Buffer,
    palette: super::Palette,
    at: (u16, u16),
    lines: &[Toned; 2],
    area: Rect,
    taken: &mut Vec<Rect>,
) {
    for count in [2, 1] {
        let wide = lines[..count].iter().map(|line| width(&line.text)).max().unwrap_or(0);
        let found = places(at, wide, count as u16, area)
            .into_iter()
            .find(|place| taken.iter().all(|other| !place.intersects(*other)) && area.union(*place) == area);
        if let Some(place) = found {
            for (line, y) in lines[..count].iter().zip(place.y..) {
                let text = fit(&line.text, usize::from(place.width));
                // On the left, the text ends at the marker.
                let gap = if place.x < at.0 && place.y == at.1 { place.width - width(&text) as u16 } else { 0 };
                buffer.set_stringn(place.x + gap, y, text, usize::from(place.width), palette.style(line.tone));
            }
            taken.push(place);
            return;
        }
    }
}

/// Where a label may be: at the right, at the left, below and above.
fn places((x, y): (u16, u16), wide: usize, height: u16, area: Rect) -> Vec<Rect> {
    let Ok(wide) = u16::try_from(wide) else { return Vec::new() };
    if wide > area.width {
        return Vec::new();
    }
    let centred = x.saturating_sub(wide / 2).clamp(area.x, area.x + area.width - wide);
    let right = Some((x + 2, y));
    let left = x.checked_sub(wide + 1).map(|x| (x, y));
    let below = Some((centred, y + 1));
    let above = y.checked_sub(height).map(|y| (centred, y));
    let places = [right, left, below, above].into_iter().flatten();
    places.map(|(x, y)| Rect { x, y, width: wide, height }).collect()
}

fn legend<'d>(without_location: impl Iterator<Item = &'d RegionDigest>) -> Vec<Toned> {
    let signs = [Condition::Up, Condition::Partly, Condition::Down, Condition::LastKnown];
    let words = ["up", "partly", "down", "last known"];
    let mut texts = vec![toned("arcs: ", Tone::Soft)];
    for (condition, word) in signs.into_iter().zip(words) {
        texts.push(toned(format!("{} ", sign(condition)), Tone::of(condition)));
        texts.push(toned(format!("{word}  "), Tone::Soft));
    }
    let names: Vec<String> = without_location
        .map(|region| {
            let name = if region.name.is_empty() { "no region" } else { &region.name };
            format!("{name} {}", up_of(region, region.endpoints.len()))
        })
        .collect();
    if !names.is_empty() {
        texts.push(toned(format!("without a location: {}", names.join("; ")), Tone::Warning));
    }
    texts
}

/// The regions as a table, where there is no room or no location.
fn table(canvas: &mut Canvas<'_>, state: &mut TopState, area: Rect, has_place: bool, shares: &[(String, f64)]) {
    let mut below = area;
    if !has_place && area.height > 3 {
        let how = "No region has a location: set location = [LATITUDE, LONGITUDE] in its settings.";
        let taken = canvas.wrapped(area, how, Tone::Soft);
        below = Rect { y: area.y + taken, height: area.height - taken, ..area };
    }
    let count = state.digest.regions.len();
    let selected = state.selected(TopView::Map, count);
    let regions = &state.digest.regions;
    canvas.table(below, (&["REGION", "STATE", "UP", "ANSWERS"], &[0, 1]), (count, selected), |at| {
        let region = &regions[at];
        let share = shares.iter().find(|(name, _)| *name == region.name);
        let name = if region.name.is_empty() { "no region" } else { &region.name };
        vec![
            plain(name),
            toned(region.words.clone(), Tone::of(region.condition)),
            plain(format!("{} of {}", region.up, region.endpoints.len())),
            plain(share.map_or("-".to_owned(), |(_, share)| percent(*share))),
        ]
    });
}

/// The share of each region in the answers of the last sample.
fn shares(history: Option<&HistoryReport>) -> Vec<(String, f64)> {
    let Some(history) = history else { return Vec::new() };
    let series = history.series.iter().filter(|series| series.kind == "answers");
    let now = series.filter_map(|series| {
        let rate = series.values.last().copied().flatten()?;
        Some((series.region.clone().unwrap_or_default(), f64::from(rate)))
    });
    let now: Vec<(String, f64)> = now.collect();
    let all: f64 = now.iter().map(|(_, rate)| rate).sum();
    if all > 0.0 { now.into_iter().map(|(name, rate)| (name, rate / all)).collect() } else { Vec::new() }
}
