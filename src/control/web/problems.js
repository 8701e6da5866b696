// What is wrong, in sentences, the worst first; and their number, for the title of the tab.

const MOST_PROBLEMS = 30;

function fileProblems({ reload, unsaved, zones }) {
  const found = [];
  if (!reload.ok) {
    const first = reload.problems.find((problem) => problem.severity === "error") ?? reload.problems[0];
    const which = first ? `: ${first.file}:${first.line}:${first.column}: ${first.message}` : "";
    found.push(["down", `the files have problems and an earlier generation is served${which}`]);
  }
  const words = { kept: "its last good version is served", unserved: "it is not served" };
  words.vanished = "it has disappeared from the files and is still served";
  for (const { zone, files } of zones) {
    if (words[files.state]) found.push(["down", `zone ${zone}: ${words[files.state]}`]);
  }
  for (const { file, content, since } of unsaved ?? []) {
    found.push(["down", `not on disk since ${moment(since)}: ${content} (${file})`]);
  }
  return found;
}

function vantageProblems({ vantages }) {
  return vantages.filter(({ state }) => state !== "up").map(({ name, region, state, why, age_ms: age }) => {
    const reason = why ? `: ${why}` : "";
    if (state === "blind") {
      return ["down", `vantage ${name} (${region}) is blind, so its verdicts stay as they were${reason}`];
    }
    const since = age === undefined ? "" : `, the last one ${lasting(age / 1000)} ago`;
    return ["down", `vantage ${name} (${region}) sends no reports${since}`];
  });
}

function fleetProblems({ fleet }) {
  if (!fleet || fleet.nats.state === "connected") return [];
  const why = fleet.nats.problem ? `: ${fleet.nats.problem}` : "";
  return [["warning", `no connection to NATS for ${lasting(fleet.nats.for_ms / 1000)}${why}`]];
}

function nameProblems(names) {
  return names.flatMap(({ zone, notes, on_empty: isEmpty }) =>
    notes.map((note) => [isEmpty ? "down" : "warning", `${note} [${zone}]`]),
  );
}

function until(entry) {
  return entry.until ? `, until ${moment(entry.until)}` : "";
}

/** Where an override is not in force yet. */
function spread({ fleet }) {
  if (!fleet) return "";
  if (!fleet.shared) return " (not yet shared with the fleet)";
  return fleet.missing.length ? ` (not in force yet at ${fleet.missing.join(", ")})` : "";
}

function overrideProblems(endpoints) {
  const byTarget = new Map();
  for (const endpoint of endpoints) {
    const entry = endpoint.override;
    if (entry) byTarget.set(entry.target, [entry, endpoint.out]);
    else if (endpoint.state) {
      byTarget.set(endpoint.key, [null, `${endpoint.name} is ${endpoint.out} by the policy file`]);
    }
  }
  return [...byTarget].map(([target, [entry, words]]) =>
    ["drained", entry ? `${target} is ${words} by ${entry.who}: ${entry.why}${until(entry)}${spread(entry)}` : words],
  );
}

/** A rehearsal that runs: what it has lost is not lost. */
function drillProblems({ drill }) {
  if (!isDrilled({ drill })) return [];
  const { drill: kind, target, who, ends_at: ends, phase } = drill;
  return [["drill", `${kind} ${target} by ${who}, ${phase}, until ${moment(ends)}. Its endpoints count as lost only for the drill`]];
}

function downRegions(regions) {
  const all = regions.filter((region) => region.name && region.state === "down");
  return all.map(({ name, endpoints }) => ["down", `region ${name} is down: ${count(endpoints.length, "endpoint")}`]);
}

const LEVELS = ["down", "warning", "drill", "drained"];
const LEVEL_LABELS = { down: "Bad", warning: "Note", drill: "Drill", drained: "Override" };

function problems() {
  const { status, away, endpoints, regions } = store;
  const all = [
    ...vantageProblems(status), ...fleetProblems(status), ...fileProblems(status), ...downRegions(regions),
    ...feedProblems(status), ...nameProblems(away),
    ...drillProblems(status), ...overrideProblems(endpoints),
  ];
  return all.sort(([a], [b]) => LEVELS.indexOf(a) - LEVELS.indexOf(b));
}

onChange(() => {
  const all = problems();
  const shown = all.slice(0, MOST_PROBLEMS);
  if (all.length > shown.length) shown.push(["warning", `and ${all.length - shown.length} more`]);
  const calm = [["up", "Every name gives what its policy prefers; nothing is overridden."]];
  sync(find("#problems ul"), shown.length ? shown : calm, (each) => each.join(), ([level, text]) => {
    const label = LEVEL_LABELS[level];
    return make("li", { class: level }, label ? make("strong", {}, `${label}: `) : null, text);
  });
  store.bad = all.filter(([level]) => level === "down").length;
  showTitle();
});
