// The header: who this is, how it fares, and whether what is shown is of now.

const SPARK = { width: 120, height: 24 };

function spark(values) {
  const most = Math.max(1, ...values);
  const x = (at) => (SPARK.width * (at + 60 - values.length)) / 59;
  const y = (value) => SPARK.height - 2 - ((SPARK.height - 4) * value) / most;
  const line = values.map((value, at) => `${at ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const attributes = { class: "spark", viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, "aria-hidden": "true" };
  return draw("svg", attributes, draw("path", { d: line }));
}

const isDrilled = ({ drill }) => Boolean(drill) && !drill.restored_at;

function fact(label, value, state = "") {
  return { label, value, state };
}

function facts() {
  const { status, endpoints } = store;
  const { server } = status;
  const up = endpoints.filter((endpoint) => endpoint.health === "up").length;
  const isLast = endpoints.some((endpoint) => endpoint.basis);
  const out = endpoints.filter((endpoint) => endpoint.out).length;
  const away = store.away.length;
  const upState = isLast ? "last" : up === endpoints.length ? "up" : up ? "warning" : "down";
  const last = isLast ? ", last known" : "";
  const list = [
    fact("Endpoints", `${up} of ${endpoints.length} up${last}`, endpoints.length ? upState : ""),
    fact("Names", `${away ? `${away} not as preferred` : "as preferred"}${last}`, away || isLast ? "warning" : "up"),
  ];
  if (out) list.push(fact("Overridden", count(out, "endpoint"), "drained"));
  if (isDrilled(status)) list.push(fact("Drill", `${status.drill.drill} ${status.drill.target}`, "drained"));
  if (server?.traffic) list.push(fact("Queries a second", rate(server.traffic.qps)));
  list.push(fact("Generation", `${status.generation}${status.reload.ok ? "" : ", files refused"}`,
    status.reload.ok ? "" : "down"));
  if (server) list.push(fact("Up for", lasting(server.uptime_s)), fact("Version", server.version));
  return list;
}

function makeFact({ label }) {
  return make("div", { class: "fact" }, make("dt", {}, label), make("dd", {}, make("span")));
}

function updateFact(node, { label, value, state }) {
  change(node, { "data-state": state || null });
  write(node.querySelector("dd span"), value);
  if (label !== "Queries a second") return;
  const { recent } = store.status.server.traffic;
  node.querySelector("svg")?.remove();
  if (recent.length > 1) node.querySelector("dd").append(spark(recent));
}

const VANTAGE_WORDS = { up: "up", blind: "blind", stale: "stale: no reports" };

function updateVantage(node, { name, region, state, why, age_ms: age }) {
  const since = age === undefined ? "" : ` for ${lasting(age / 1000)}`;
  rebuild(node, [name, region, state, since], () => [
    make("strong", {}, name), ` ${region} `, badge(state, `${VANTAGE_WORDS[state] ?? state}${since}`),
  ]);
  change(node, { title: why ?? null });
}

onChange(() => {
  const { status } = store;
  write(find("#node"), status.server?.node ?? "");
  sync(find("#facts"), facts(), (each) => each.label, makeFact, updateFact);
  sync(find("#vantages"), status.vantages, (each) => each.name, () => make("li"), updateVantage);
  const isBlind = status.vantages.length > 0 && status.vantages.every((vantage) => vantage.state !== "up");
  change(document.body, { "data-blind": isBlind ? "1" : null, "data-drill": isDrilled(status) ? "1" : null });
});

const SILENT_S = 15;
const LATE_S = 6; // Three refreshes without an answer: the server may hang.

const silence = () => (performance.now() - store.answeredAt) / 1000;

const isAway = () => Boolean(store.problem) || silence() > SILENT_S;

/** The title of the tab: whether the server answers, and how many problems are bad. */
function showTitle() {
  const count = store.bad ? `(${store.bad}) ` : "";
  const node = store.status?.server?.node ?? "";
  const title = printable(`${isAway() ? "(no answer) " : count}${node} Portolan`.replace(/ +/g, " ").trim());
  if (document.title !== title) document.title = title;
}

/** Whether the server answers; on every refresh and every second. */
function showContact() {
  const contact = find("#contact");
  const silent = silence();
  const since = store.answeredAt ? `; what is shown is ${lasting(silent)} old` : "";
  let [state, words] = ["live", streamWord()];
  if (isAway()) [state, words] = ["away", `${store.problem || "no answer"} from the server${since}`];
  else if (silent > LATE_S) [state, words] = ["late", `no answer yet${since}`];
  write(contact, words);
  change(contact, { class: state });
  change(document.body, { "data-away": state === "away" ? "1" : null });
  showTitle();
}

function showClocks() {
  const now = new Date();
  write(find("#utc"), `${clockOf(now, "UTC")} UTC`);
  write(find("#local"), `${clockOf(now)} local`);
}
