// Simulate: what would be answered if regions, endpoints or vantages were lost. The map and a table show how the shares
// would move. The server changes nothing.

const MOST_SHIFTS = 40; // Rows of the table, those that move most.

const simulateForm = find("#simulate form");

function simulated() {
  const boxes = [...simulateForm.querySelectorAll("input[name=region]:checked")];
  const checked = boxes.map(({ value }) => `region:${value}`);
  const typed = simulateForm.elements.targets.value.split(/[\s,]+/).filter(Boolean);
  return [...checked, ...typed];
}

function requestOf(change) {
  const typed = Number.parseFloat(simulateForm.elements.qps.value);
  const qps = Number.isFinite(typed) && typed > 0 ? typed : store.status?.server?.traffic?.qps;
  return { ...change, ...(qps > 0 ? { qps } : {}) };
}

function simulate(change) {
  const body = JSON.stringify(requestOf(change));
  return call("/v1/simulate", { method: "POST", headers: { "content-type": "application/json" }, body });
}

function unansweredList({ unanswered, unanswered_left_out: more, unanswered_share: share }) {
  if (!unanswered?.length) return null;
  const lines = unanswered.slice(0, 12).map(({ name, zone, classes, all_clients: isAll, types }) => make("li", {},
    make("strong", {}, fullName({ name, zone })), ` ${types.join(", ")} `,
    isAll ? "for all clients" : `for clients in ${classes.join(", ")}`));
  const left = unanswered.length - lines.length + (more ?? 0);
  if (left > 0) lines.push(make("li", {}, `and ${left} more`));
  const words = `${percent(share)} of the questions would get no answer:`;
  return make("div", { class: "loss" }, make("p", {}, make("strong", {}, words)), make("ul", {}, lines));
}

function shiftRows(report) {
  const moved = report.endpoints.filter(({ before, after }) => Math.abs(before - after) > 1e-6);
  moved.sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before));
  return moved.slice(0, MOST_SHIFTS).map((row) => [
    row.endpoint, row.region ?? "", percent(row.before), percent(row.after),
    row.qps_after === null || row.qps_after === undefined ? "" : rate(row.qps_after),
    row.capacity ? rate(row.capacity) : "",
  ]);
}

/** What a change would do, for people. */
function effect(report) {
  const rows = shiftRows(report);
  const over = report.exceeded.map(({ endpoint, qps, capacity }) => make("li", {}, make("strong", {}, endpoint),
    ` would get ${rate(qps)} queries a second and can take ${rate(capacity)}`));
  const overTitle = make("p", {}, make("strong", {}, "Over their capacity:"));
  return [
    make("p", {}, `${percent(report.moved ?? 0)} of the questions would be answered by another endpoint.`),
    unansweredList(report),
    over.length ? make("div", { class: "loss" }, overTitle, make("ul", {}, over)) : null,
    report.stale.after > report.stale.before
      ? make("p", { class: "warning" }, `${percent(report.stale.after)} of the answers would be the last good.`) : null,
    rows.length ? table(["Endpoint", "Region", "Share now", "Share then", "Queries a second", "Capacity"], rows)
      : make("p", {}, "No share would move."),
    ...report.notes.map((note) => make("p", { class: "soft" }, note)),
  ];
}

function sharesOf(report, lost) {
  const shares = new Map();
  for (const { region, before, after } of report.endpoints) {
    if (!region) continue;
    const known = shares.get(region) ?? { before: 0, after: 0, lost: lost.includes(`region:${region}`) };
    known.before += before;
    known.after += after;
    shares.set(region, known);
  }
  return shares;
}

function showSimulation(shares, words) {
  store.simulation = shares;
  const note = find("#world .simulated");
  change(note, { hidden: !shares });
  write(note, shares ? `Simulated: ${words} lost. Nothing has changed.` : "");
  change(simulateForm.querySelector(".stop"), { hidden: !shares });
  change(document.body, { "data-simulated": shares ? "1" : null });
  render();
}

async function runSimulation() {
  const lose = simulated();
  setAddress("simulate", new URLSearchParams(lose.map((target) => ["lose", target])));
  const shown = find("#simulation");
  if (lose.length === 0) {
    fill(shown, make("p", { class: "refused" }, "Choose a region, or name an endpoint."));
    return;
  }
  try {
    const report = await simulate({ lose });
    fill(shown, effect(report));
    showSimulation(sharesOf(report, lose), lose.join(", "));
  } catch (error) {
    fill(shown, refusal(error));
  }
}

simulateForm.addEventListener("submit", (event) => {
  event.preventDefault();
  runSimulation();
});

simulateForm.querySelector(".stop").addEventListener("click", () => {
  fill(find("#simulation"));
  setAddress("simulate", new URLSearchParams());
  showSimulation(null, "");
});

function offerRegions() {
  const names = store.regions.map(({ name }) => name).filter(Boolean);
  rebuild(find("#lose"), names, () => [
    make("legend", {}, "Lose these regions"),
    names.map((value) => make("label", { class: "check" }, make("input", { type: "checkbox", name: "region", value }),
      ` ${value}`)),
  ]);
}

onRoute("simulate", (query) => {
  const lose = query.getAll("lose");
  if (lose.length === 0) return;
  offerRegions();
  const others = lose.filter((target) => {
    const box = target.startsWith("region:")
      && simulateForm.querySelector(`input[value="${CSS.escape(target.slice(7))}"]`);
    if (box) box.checked = true;
    return !box;
  });
  simulateForm.elements.targets.value = others.join(" ");
  runSimulation();
});

onChange(() => {
  offerRegions();
  const targets = store.endpoints.slice(0, 500).map(({ name }) => name);
  rebuild(find("#targets"), targets, () => targets.map((value) => make("option", { value })));
});
