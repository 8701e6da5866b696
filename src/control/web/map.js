// The map: the regions at their places, and an arc with the RTT from each region with a vantage to each other one.
// While a loss is simulated, it shows how the shares of the regions would move.

const WIDE = 600; // From this width on, in pixels, the map has the shape of a world and labels on its arcs.
const LEAST_SPAN = 70 * UNITS; // The map shows at least so much: a single region needs surroundings.
const SHORT = 90; // An arc of less pixels has no room for its RTT.
const MOST_LABELS = 12; // With more arcs the labels would hide each other; the matrix has all RTTs.
const MARKS = { up: "✓", warning: "!", down: "✕", drained: "–", unknown: "?", last: "~" };
const LEGEND = [
  ["up", "up"], ["warning", "partly down or drained"], ["down", "down"], ["drained", "drained"],
  ["last", "last known: no vantage has a vote"], ["unknown", "not known yet"],
];

const worldMap = { svg: find("svg.world"), states: new Map(), drawn: "" };

const project = ([latitude, longitude]) => ({ x: (longitude + 180) * UNITS, y: (90 - latitude) * UNITS });

function placed() {
  const vantages = new Set(store.vantageRegions);
  const byName = new Map(store.regions.map((region) => [region.name, region]));
  const all = [...store.places].filter(([name, location]) => location && (byName.has(name) || vantages.has(name)));
  return all.map(([name, location]) => ({
    name, at: project(location), region: byName.get(name) ?? null, hasVantage: vantages.has(name),
  }));
}

/** The part of the world that has all regions, in the shape of the screen. */
function frameOf(spots, width) {
  const xs = spots.map(({ at }) => at.x);
  const ys = spots.map(({ at }) => at.y);
  const [left, right] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 360 * UNITS];
  const [top, bottom] = ys.length ? [Math.min(...ys), Math.max(...ys)] : [40, 580];
  const w = Math.min(360 * UNITS, Math.max(LEAST_SPAN, (right - left) * 1.4, (bottom - top) * 1.9));
  const h = Math.min(Math.max((bottom - top) * 1.9, w / 2.3), width < WIDE ? w / 1.4 : w / 1.9);
  const x = Math.min(Math.max((left + right - w) / 2, 0), 360 * UNITS - w);
  return { x, y: Math.max((top + bottom - h) / 2, -10), w, h, scale: w / Math.max(width, 1) };
}

/** What a region with a vantage sees of another region: the middle RTT, and the share that it sees up. */
function seenFrom(from, region) {
  const rtts = [];
  const of = { up: 0, all: 0 };
  for (const endpoint of region.endpoints) {
    const report = endpoint.regions?.find((each) => each.region === from);
    if (report?.rtt_ms !== null && report?.rtt_ms !== undefined) rtts.push(report.rtt_ms);
    for (const check of endpoint.verdicts) {
      if (check.region !== from || check.monitor) continue;
      of.all += 1;
      if (check.health === "up" && report?.reachable !== false) of.up += 1;
    }
  }
  rtts.sort((a, b) => a - b);
  const seen = !of.all ? "unknown" : of.up === of.all ? "up" : of.up ? "warning" : "down";
  const state = store.silentRegions.includes(from) ? "last" : seen;
  return { rtt: rtts[Math.floor(rtts.length / 2)], state, isSeen: of.all > 0 };
}

function arcs(spots) {
  const found = [];
  for (const from of spots.filter((spot) => spot.hasVantage)) {
    for (const to of spots.filter((spot) => spot.region && spot !== from)) {
      const seen = seenFrom(from.name, to.region);
      if (seen.isSeen) found.push({ from, to, ...seen });
    }
  }
  return found;
}

/** A curve that bends to the north, and its middle. */
function curve({ from: { at: a }, to: { at: b } }) {
  const length = Math.hypot(b.x - a.x, b.y - a.y);
  const bend = Math.min(length * 0.28, 26 * UNITS);
  const side = b.x >= a.x ? 1 : 0.55; // The two directions do not cover each other.
  const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 - bend * side };
  const at = { x: (a.x + b.x) / 4 + middle.x / 2, y: (a.y + b.y) / 4 + middle.y / 2 };
  return { path: `M${a.x} ${a.y}Q${middle.x} ${middle.y} ${b.x} ${b.y}`, at };
}

function shareText({ name }) {
  const simulated = store.simulation?.get(name);
  if (simulated) return `${percent(simulated.before)} → ${percent(simulated.after)}`;
  const share = store.shares.get(name);
  return share ? `${percent(share)} of answers` : "";
}

function stateOf(spot) {
  if (store.simulation?.get(spot.name)?.lost) return "down";
  return spot.region?.state ?? "vantage";
}

function linesOf(spot) {
  const { region } = spot;
  if (!region) return ["vantage only"];
  const isNarrow = worldMap.svg.clientWidth < WIDE;
  const all = region.endpoints.length;
  const lost = store.simulation?.get(spot.name)?.lost;
  const words = lost ? "would be lost" : region.state === "up" ? "" : `, ${region.words}`;
  const second = lost ? words : `${region.up} of ${all} up${words}`;
  // On a narrow map labels hide each other: a region that is well has its name only.
  if (isNarrow && !store.simulation) return region.state === "up" ? [] : [region.words];
  return [second, shareText(spot)].filter(Boolean);
}

/** Finds a place for a label that covers no other one and no marker. */
function placeLabel(spot, lines, taken, scale) {
  const width = Math.max(...lines.map((line) => line.length)) * 6.6 * scale;
  const height = lines.length * 14 * scale;
  const gap = 15 * scale;
  const { x, y } = spot.at;
  const choices = [
    { anchor: "start", x: x + gap, y: y - height / 2, left: x + gap },
    { anchor: "end", x: x - gap, y: y - height / 2, left: x - gap - width },
    { anchor: "middle", x, y: y + gap, left: x - width / 2 },
    { anchor: "middle", x, y: y - gap - height, left: x - width / 2 },
  ];
  const covers = (box) => taken.some((other) =>
    box.left < other.left + other.width && other.left < box.left + box.width &&
    box.y < other.y + other.height && other.y < box.y + box.height);
  const boxes = choices.map((choice) => ({ ...choice, width, height }));
  const { x: edge, w } = worldMap.frame;
  const fits = (box) => box.left >= edge && box.left + box.width <= edge + w;
  const best = boxes.find((box) => fits(box) && !covers(box)) ?? boxes.find(fits) ?? boxes[0];
  taken.push(best);
  return best;
}

function label(lines, box, scale, className) {
  const text = draw("text", { class: className, "text-anchor": box.anchor, "font-size": 12 * scale,
    "stroke-width": 3 * scale });
  lines.forEach((line, at) => {
    const y = box.y + (at * 14 + 11) * scale;
    text.append(draw("tspan", { x: box.x, y, class: at ? "second" : "first" }, line));
  });
  return text;
}

function marker(spot, taken, scale) {
  const state = stateOf(spot);
  const lines = [spot.name, ...linesOf(spot)];
  const share = store.simulation?.get(spot.name)?.after ?? store.shares.get(spot.name) ?? 0;
  const health = spot.region?.health ?? null;
  const isDrained = spot.region?.state === "drained";
  const group = draw("g", {
    class: `marker ${state}`, tabindex: 0, role: "button", "aria-label": `Region ${lines.join(", ")}`,
    "data-region": spot.region ? spot.name : null, "data-health": health, "data-drained": isDrained,
  });
  const { x, y } = spot.at;
  if (share > 0) group.append(draw("circle", { class: "share", cx: x, cy: y, r: (9 + 22 * Math.sqrt(share)) * scale }));
  const ring = spot.hasVantage ? draw("circle", { class: "vantage", cx: x, cy: y, r: 12 * scale,
    "stroke-width": 1.5 * scale }) : null;
  const size = { "font-size": 11 * scale, "text-anchor": "middle", x, y: y + 4 * scale };
  add(group, [
    ring, draw("circle", { class: "dot", cx: x, cy: y, r: (spot.region ? 9 : 4) * scale }),
    spot.region ? draw("text", { class: "mark", ...size }, MARKS[state] ?? "") : null,
    label(lines, placeLabel(spot, lines, taken, scale), scale, "name"),
  ]);
  group.addEventListener("click", () => chooseRegion(spot));
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    chooseRegion(spot);
  });
  if (worldMap.states.has(spot.name) && worldMap.states.get(spot.name) !== state) flash(group);
  worldMap.states.set(spot.name, state);
  return group;
}

function chooseRegion({ name }) {
  const select = find("#region");
  select.value = filter.region === name ? "" : name;
  select.dispatchEvent(new Event("input", { bubbles: true }));
}

function drawArc(arc, hasLabel, taken, scale) {
  const { path, at } = curve(arc);
  const group = draw("g", { class: `arc ${arc.state}` });
  const words = Object.fromEntries(LEGEND);
  const title = `${arc.from.name} to ${arc.to.name}: ${rtt(arc.rtt) || "no RTT"}, ${words[arc.state]}`;
  group.append(draw("title", {}, title), draw("path", { d: path, "stroke-width": 1.6 * scale,
    "stroke-dasharray": arc.state === "up" ? null : `${5 * scale} ${4 * scale}` }));
  const key = `${arc.from.name} ${arc.to.name}`;
  if (worldMap.states.has(key) && worldMap.states.get(key) !== arc.state) flash(group);
  worldMap.states.set(key, arc.state);
  const length = Math.hypot(arc.to.at.x - arc.from.at.x, arc.to.at.y - arc.from.at.y) / scale;
  const text = { down: "✕", last: MARKS.last }[arc.state] ?? rtt(arc.rtt);
  if (hasLabel && text && length > SHORT) {
    const width = text.length * 6.6 * scale;
    const box = { x: at.x, y: at.y - 7 * scale, left: at.x - width / 2, width, height: 14 * scale, anchor: "middle" };
    taken.push(box);
    group.append(label([text], box, scale, "rtt"));
  }
  return group;
}

function graticule() {
  const lines = [];
  for (let degree = 30; degree < 360; degree += 30) lines.push(`M${degree * UNITS} 0V${180 * UNITS}`);
  for (let degree = 30; degree < 180; degree += 30) lines.push(`M0 ${degree * UNITS}H${360 * UNITS}`);
  return draw("path", { class: "graticule", d: lines.join("") });
}

function drawMap() {
  const { svg } = worldMap;
  const spots = placed();
  const width = svg.clientWidth || 900;
  const frame = frameOf(spots, width);
  const { scale } = frame;
  worldMap.frame = frame;
  const all = arcs(spots);
  const taken = spots.map(({ at }) => ({
    left: at.x - 12 * scale, y: at.y - 12 * scale, width: 24 * scale, height: 24 * scale,
  }));
  change(svg, { viewBox: `${frame.x} ${frame.y} ${frame.w} ${frame.h}` });
  const land = worldMap.land ?? draw("path", { class: "land", d: LAND });
  worldMap.land = land;
  const focused = document.activeElement?.closest?.("g.marker")?.dataset.region;
  const hasLabels = width >= WIDE && all.length <= MOST_LABELS;
  const drawn = all.map((arc) => drawArc(arc, hasLabels, taken, scale));
  fill(svg, graticule(), land, drawn, spots.map((spot) => marker(spot, taken, scale)));
  if (focused) svg.querySelector(`g.marker[data-region="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  const lost = store.regions.filter(({ name }) => name && !store.places.get(name)).map(({ name }) => name);
  write(find("#world small"), [
    spots.length ? "" : "no region has a location: set location = [LATITUDE, LONGITUDE] in its settings",
    spots.length && lost.length ? `without a location: ${lost.join(", ")}` : "",
  ].filter(Boolean).join("; "));
}

/** Draws the map only if it differs from the last drawing: RTTs count in the precision in which they are shown. */
function updateMap() {
  const spots = placed();
  const facts = JSON.stringify([
    worldMap.svg.clientWidth, spots.map((spot) => [spot.name, spot.at, stateOf(spot), linesOf(spot)]),
    arcs(spots).map((arc) => [arc.from.name, arc.to.name, arc.state, rtt(arc.rtt)]), [...store.shares.keys()],
  ]);
  if (facts === worldMap.drawn) return;
  worldMap.drawn = facts;
  drawMap();
}

fill(find("#world .legend"), LEGEND.map(([state, words]) => make("li", {}, badge(state, MARKS[state]), ` ${words}`)));
onChange(updateMap);
new ResizeObserver(() => store.status && updateMap()).observe(worldMap.svg);
