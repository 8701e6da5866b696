// What the page knows: the responses of the API, what follows from them, the filter, and the address of the page.

const REFRESH_MS = 2000; // RTTs, ages and counters change without an event.
const WAIT_MS = 10000; // A server that does not answer for so long is away.
const MOST_NAMES = 150; // Of those with problems, and of the others.

const store = {
  status: null,
  names: [],
  away: [], // Names that are not as preferred, whatever the filter is.
  endpoints: [],
  regions: [],
  vantageRegions: [],
  silentRegions: [], // Their vantages have no vote.
  shares: new Map(), // region -> share of the answers, measured
  simulation: null, // region -> { before, after, lost }
  answeredAt: 0,
  problem: "",
  bad: 0, // How many problems are bad.
};

const filter = { zone: "", region: "", text: "", bad: false };

const renderers = [];

/** Calls `render` whenever something has changed. */
function onChange(render) {
  renderers.push(render);
}

function render() {
  if (!store.status) return;
  const began = performance.now();
  renderers.forEach((each) => each());
  performance.measure("update", { start: began });
}

/** Whether no answer came, in place of one that refuses. */
const isSilence = (error) => error.name === "TimeoutError" || error instanceof TypeError;

/** Calls the API. An error has the sentence of the server. */
async function call(path, options = {}) {
  const aborted = AbortSignal.timeout(WAIT_MS);
  const reply = await fetch(path, { signal: aborted, cache: "no-store", ...options });
  const text = await reply.text();
  const body = text && reply.headers.get("content-type")?.includes("json") ? JSON.parse(text) : null;
  if (reply.ok) return body;
  throw Object.assign(new Error(body?.detail ?? `status ${reply.status}`), { status: reply.status, body });
}

function namesPath(preferred, { text, zone } = filter) {
  const query = new URLSearchParams({ preferred, limit: MOST_NAMES });
  if (text) query.set("search", text);
  if (zone) query.set("zone", zone);
  return `/v1/names?${query}`;
}

let refreshing = false;
let again = false;

/** Reads everything. A call while it reads makes it read once more. */
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    // Such a text is of an address, and of no name.
    const isNoName = !/^[\w.*@-]*$/.test(filter.text);
    const names = isNoName ? [[], []] : [call(namesPath(false)), call(namesPath(true))];
    const all = filter.text || filter.zone ? call(namesPath(false, {})) : null;
    const [status, away, bad, good] = await Promise.all([call("/v1/status"), all, ...names]);
    store.status = status;
    store.names = [...(bad ?? []), ...(good ?? [])];
    store.away = away ?? bad ?? [];
    store.answeredAt = performance.now();
    store.problem = "";
    derive(status);
  } catch (error) {
    store.problem = isSilence(error) ? "no answer" : error.message;
  } finally {
    refreshing = false;
  }
  render();
  showContact();
  if (act.form) listOverrides();
  if (again) {
    again = false;
    refresh();
  }
}

/** Why an endpoint gets no new answers, or all of them: an override or its state in the files. */
function outOf(endpoint) {
  const words = { drain: "drained", down: "forced down", up: "forced up", disabled: "disabled" };
  const state = endpoint.override?.state ?? endpoint.state;
  return state ? (words[state] ?? state) : "";
}

function derive(status) {
  const places = new Map((status.regions ?? []).map((place) => [place.name, place.location]));
  const regions = new Map([...places].map(([name, location]) => [name, { name, location, endpoints: [] }]));
  store.endpoints = status.zones.flatMap((zone) =>
    zone.endpoints.map((endpoint) => {
      const out = outOf(endpoint);
      const isWell = endpoint.health === "up" && !out && !endpoint.basis;
      return { zone: zone.zone, key: `${zone.zone}/${endpoint.name}`, out, isWell, ...endpoint };
    }),
  );
  for (const endpoint of store.endpoints) {
    const name = endpoint.region ?? "";
    if (!regions.has(name)) regions.set(name, { name, location: null, endpoints: [] });
    regions.get(name).endpoints.push(endpoint);
  }
  store.regions = [...regions.values()].filter((region) => region.endpoints.length > 0);
  store.regions.forEach(summarise);
  const vantages = new Set(status.vantages.map((vantage) => vantage.region));
  const seeing = new Set(status.vantages.filter(({ state }) => state === "up").map((vantage) => vantage.region));
  store.silentRegions = [...vantages].filter((name) => !seeing.has(name));
  store.vantageRegions = [...places.keys()].filter((name) => vantages.has(name));
  store.places = places;
}

/** The state of a region in one word. */
function summarise(region) {
  const all = region.endpoints;
  const number = (test) => all.filter(test).length;
  region.up = number((endpoint) => endpoint.health === "up");
  const down = number((endpoint) => endpoint.health === "down");
  const out = number((endpoint) => endpoint.out && endpoint.out !== "forced up");
  region.health = region.up ? "up" : down ? "down" : "unknown";
  region.isLast = all.some((endpoint) => endpoint.basis);
  if (out === all.length) region.state = "drained";
  else if (region.health !== "up") region.state = region.health;
  else if (region.isLast) region.state = "last";
  else region.state = region.up < all.length || out ? "warning" : "up";
  region.words = {
    drained: "drained",
    down: "down",
    unknown: "not known yet",
    last: "last known",
    warning: out ? `${out} drained` : "partly down",
    up: "up",
  }[region.state];
}

/** Whether an endpoint passes the filter. */
function isShown(endpoint) {
  if (filter.zone && endpoint.zone !== filter.zone) return false;
  if (filter.region && endpoint.region !== filter.region) return false;
  if (filter.bad && endpoint.isWell) return false;
  if (!filter.text) return true;
  const text = filter.text.toLowerCase();
  const has = (value) => value?.toLowerCase().includes(text);
  return has(endpoint.name) || has(endpoint.zone) || endpoint.verdicts.some((seen) => has(seen.address));
}

// The address of the page: #SECTION?KEY=VALUE. It can be sent to a colleague.

const routes = new Map();

/** Calls `open` with the parameters when the address names this section. */
function onRoute(section, open) {
  routes.set(section, open);
}

function address() {
  const [section, query] = location.hash.slice(1).split("?");
  return { section, query: new URLSearchParams(query ?? "") };
}

/** Sets the address without a jump. */
function setAddress(section, query) {
  const kept = new URLSearchParams([...query].filter(([, value]) => value));
  const text = kept.toString();
  history.replaceState(null, "", text || section ? `#${section}${text ? `?${text}` : ""}` : location.pathname);
}

function follow() {
  const { section, query } = address();
  routes.get(section)?.(query);
  const target = section && document.getElementById(section);
  if (target) {
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  }
}

/** A select that has these texts, and keeps its choice. */
function offer(select, texts) {
  const first = [...select.options].filter((option) => option.value === "" && !option.dataset.own);
  if (select.offered === texts.join("\n")) return;
  select.offered = texts.join("\n");
  const chosen = select.value;
  fill(select, first, texts.map((text) => make("option", { value: text, "data-own": "1" }, text)));
  select.value = texts.includes(chosen) ? chosen : "";
}
