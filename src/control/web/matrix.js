// The matrix: each endpoint with its verdict, and what each region with a vantage sees of it. Those with a problem are
// the first of their region.

const ROWS_AT_ONCE = 40; // Of each region. A button shows further ones.

// Regions with a problem come first.
const WORST = ["down", "unknown", "warning", "drained", "last", "up"];

const opened = new Set();

/** What a region sees of an endpoint: a state, an RTT, and why it is not up. */
function cellOf(endpoint, from) {
  const checks = endpoint.verdicts.filter((check) => check.region === from && !check.monitor);
  if (checks.length === 0) return { state: "", text: "–" };
  const report = endpoint.regions?.find((each) => each.region === from);
  const bad = checks.filter((check) => check.health !== "up");
  const time = rtt(report?.rtt_ms ?? checks.find((check) => check.rtt_ms)?.rtt_ms);
  if (bad.length === 0 && report?.reachable === false) return { state: "warning", text: `out of reach ${time}` };
  if (bad.length === 0) {
    const why = checks.find((check) => check.why)?.why;
    return why ? { state: "warning", text: `${time} last probe: ${why}` } : { state: "up", text: time || "up" };
  }
  const [first] = bad;
  const which = bad.length < checks.length ? `${first.address} ` : "";
  const age = first.age_ms === undefined || first.age_ms === null ? "" : `, ${lasting(first.age_ms / 1000)} ago`;
  const state = bad.length < checks.length ? "warning" : first.health;
  return { state, text: `${which}${first.health}${first.why ? `: ${first.why}` : ""}${age}` };
}

function verdictOf(endpoint) {
  const last = endpoint.basis ? ", last known" : "";
  const entry = endpoint.override;
  const notes = [];
  if (entry) notes.push(`${entry.who}: ${entry.why}${until(entry)}`);
  if (endpoint.basis) notes.push("no vantage has a vote");
  const ramp = endpoint.ramps?.[0];
  if (ramp) notes.push(`${percent(ramp.share)} of its weight, all in ${lasting(ramp.full_in_ms / 1000)}`);
  for (const check of endpoint.verdicts) {
    if (check.monitor && check.health !== "up") notes.push(`${check.health} by monitor ${check.monitor}`);
  }
  const state = endpoint.basis ? "last" : endpoint.health;
  return { state, text: `${endpoint.health}${last}`, out: endpoint.out, notes };
}

function endpointCells(endpoint, verdict, cells, from) {
  const target = new URLSearchParams({ target: endpoint.name });
  const data = (at) => `From ${from[at]}`;
  return [
    make("th", { scope: "row" },
      make("a", { href: `#act?${target}`, title: "Act on this endpoint" }, endpoint.name),
      make("span", { class: "soft" }, ` ${endpoint.zone.replace(/\.$/, "")}`)),
    make("td", { "data-label": "Verdict" }, badge(verdict.state, verdict.text),
      verdict.out ? badge("drained", verdict.out) : null,
      verdict.notes.length ? make("span", { class: "soft" }, ` ${verdict.notes.join("; ")}`) : null),
    cells.map((cell, at) => make("td", { "data-label": data(at), class: `seen ${cell.state}` }, cell.text)),
  ];
}

/** Writes the ages and RTTs of a row that has not changed otherwise. */
function updateCells(row, cells) {
  const nodes = row.querySelectorAll("td.seen");
  cells.forEach((cell, at) => write(nodes[at], cell.text));
}

function updateRow(row, endpoint, from) {
  const verdict = verdictOf(endpoint);
  const cells = from.map((region) => cellOf(endpoint, region));
  const before = row.facts;
  rebuild(row, [verdict, from, cells.map((cell) => cell.state)], () => endpointCells(endpoint, verdict, cells, from));
  if (before === row.facts) updateCells(row, cells);
  if (before && before !== row.facts) flash(row);
}

function updateGroup(body, { region, shown }, from) {
  const width = from.length + 2;
  const isOpen = opened.has(region.name) || shown.length <= ROWS_AT_ONCE * 1.5;
  const first = isOpen ? shown : shown.slice(0, ROWS_AT_ONCE);
  change(body, {
    "data-region": region.name || null, "data-health": region.health, "data-drained": region.state === "drained",
  });
  const head = { key: "head" };
  const more = shown.length > first.length ? [{ key: "more" }] : [];
  sync(body, [head, ...first, ...more], (each) => each.key, () => make("tr"), (row, each) => {
    if (each.key === "head") updateHead(row, region, width);
    else if (each.key === "more") updateMore(row, region, shown.length - first.length, width);
    else updateRow(row, each, from);
  });
}

function updateHead(row, region, width) {
  const { name, state, words, up, endpoints } = region;
  rebuild(row, [name, state, words, up, endpoints.length, width], () =>
    make("th", { colspan: width, scope: "rowgroup" }, make("strong", {}, name || "without a region"), " ",
      badge(state, words), ` ${up} of ${endpoints.length} up`));
  change(row, { class: "head" });
}

function updateMore(row, region, left, width) {
  rebuild(row, [left, width], () => {
    const button = make("button", { type: "button" }, `Show ${left} more of ${region.name || "these"}`);
    button.addEventListener("click", () => {
      opened.add(region.name);
      render();
    });
    return make("td", { colspan: width }, button);
  });
}

onChange(() => {
  const from = store.vantageRegions;
  rebuild(find("#matrix thead tr"), from, () => [
    make("th", { scope: "col" }, "Endpoint"), make("th", { scope: "col" }, "Verdict"),
    from.map((name) => make("th", { scope: "col" }, `From ${name}`)),
  ]);
  const isWell = (endpoint) => Number(endpoint.isWell);
  const badness = ({ region }) => WORST.indexOf(region.state);
  const groups = store.regions.map((region) => {
    const shown = region.endpoints.filter(isShown).sort((a, b) => isWell(a) - isWell(b));
    return { region, shown };
  }).filter(({ shown }) => shown.length > 0).sort((a, b) => badness(a) - badness(b));
  sync(find("#matrix table"), groups, ({ region }) => region.name, () => make("tbody"),
    (body, group) => updateGroup(body, group, from));
  const number = groups.reduce((sum, { shown }) => sum + shown.length, 0);
  const all = store.endpoints.length;
  write(find("#matrix small"), number === all ? count(all, "endpoint") : `${number} of ${count(all, "endpoint")}`);
});
