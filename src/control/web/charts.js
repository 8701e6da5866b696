// Charts of the last hour, from `/v1/history`: queries a second, shares of the answers, and RTTs.

const CHART_MS = 10000; // A sample each ten seconds.
const CHART = { width: 640, height: 150, left: 48, bottom: 18, top: 8 };
const MOST_LINES = 8; // More colours can't be told apart; /v1/history has the others.
const PART = "too many endpoints: choose a zone or a region";

const LEAST_SAMPLES = 30; // A server that runs for a minute has no use for an empty hour.

const charts = { by: "region", report: null, samples: 0 };

function labelOf(series, by) {
  const of = by === "region" ? (series.region ?? "without a region") : series.endpoint;
  return series.kind === "rtt" ? `${series.from} → ${of}` : of;
}

const lastOf = (values) => values.findLast((value) => value !== null);
const sumOf = (values) => values.reduce((sum, value) => sum + (value ?? 0), 0);

/** Those with the greatest sums, and the sum of the others. */
function largest(all) {
  const sorted = [...all].sort((a, b) => sumOf(b.values) - sumOf(a.values));
  if (sorted.length <= MOST_LINES) return sorted;
  const rest = sorted.slice(MOST_LINES - 1);
  const values = rest[0].values.map((_, at) => sumOf(rest.map((series) => series.values[at])));
  return [...sorted.slice(0, MOST_LINES - 1), { label: `${rest.length} others`, values }];
}

function lineOf(values, x, y) {
  let path = "";
  let isNext = false;
  values.forEach((value, at) => {
    if (value === null) {
      isNext = false;
      return;
    }
    path += `${isNext ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    isNext = true;
  });
  return path;
}

function niceTop(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= most) ?? most;
}

function frame(title, top, unit, body, legend, note) {
  const { width, height, left, bottom, top: above } = CHART;
  const y = (value) => height - bottom - ((height - bottom - above) * value) / top;
  const lines = [0, top / 2, top].map((value) => [
    draw("path", { class: "grid", d: `M${left} ${y(value)}H${width}` }),
    draw("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, `${shortNumber(value)}${unit}`),
  ]);
  const minutes = Math.max(1, Math.round((charts.samples * charts.report.step_s) / 60));
  const words = [`${minutes} min ago`, `${Math.round(minutes / 2)} min`, "now"];
  const times = words.map((each, at) => draw("text", {
    class: "tick", x: left + ((width - left) * at) / 2, y: height - 3,
    "text-anchor": ["start", "middle", "end"][at],
  }, each));
  const svg = draw("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${title}. The list below has the newest values.` }, lines.flat(), times, body);
  return make("figure", {}, make("figcaption", {}, title, note ? make("small", {}, ` ${note}`) : null), svg,
    make("ul", { class: "series" }, legend));
}

function shortNumber(value) {
  if (value >= 1000) return `${value / 1000}k`;
  return String(Number(value.toPrecision(3)));
}

const xOf = (length) => (at) => CHART.left + ((CHART.width - CHART.left) * at) / (length - 1);
const yOf = (top) => (value) => CHART.height - CHART.bottom - ((CHART.height - CHART.bottom - CHART.top) * value) / top;

function legendOf(all, show) {
  return all.map(({ label: words, values }, at) => {
    const last = lastOf(values);
    return make("li", {}, make("i", { class: `line${at}`, "aria-hidden": "true" }), `${words}: `,
      make("strong", {}, last === undefined ? "no value" : show(last)));
  });
}

function lineChart(title, all, unit, show, note = "") {
  const top = niceTop(Math.max(0, ...all.flatMap(({ values }) => values.filter((value) => value !== null))));
  const lines = all.map(({ values }, at) => draw("path", {
    class: `line line${at}`, d: lineOf(values, xOf(values.length), yOf(top)),
  }));
  return frame(title, top, unit, lines, legendOf(all, show), note);
}

/** The shares of all series, one above the other. */
function shareChart(title, all, note) {
  const length = all[0]?.values.length ?? 2;
  const totals = Array.from({ length }, (_, at) => sumOf(all.map(({ values }) => values[at])));
  const below = new Array(length).fill(0);
  const [x, y] = [xOf(length), yOf(1)];
  const shares = all.map(({ label: words, values }) => ({
    label: words, values: values.map((value, at) => (totals[at] > 0 ? (value ?? 0) / totals[at] : null)),
  }));
  const areas = shares.map(({ values }, index) => {
    let path = "";
    values.forEach((share, at) => {
      if (share === null || at === 0) return;
      const [x0, x1] = [x(at - 1).toFixed(1), x(at).toFixed(1)];
      const [low, high] = [y(below[at]).toFixed(1), y(below[at] + share).toFixed(1)];
      path += `M${x0} ${low}H${x1}V${high}H${x0}z`;
      below[at] += share;
    });
    return draw("path", { class: `area line${index}`, d: path });
  });
  return frame(title, 1, "", areas, legendOf(shares, percent), note);
}

function drawCharts() {
  const { report, by } = charts;
  if (!report) return;
  CHART.width = Math.max(300, find("#charts .charts").clientWidth || CHART.width);
  const all = [report.qps, ...report.series.map(({ values }) => values)];
  const firsts = all.map((values) => values.findIndex((value) => value !== null)).filter((at) => at >= 0);
  charts.samples = Math.max(LEAST_SAMPLES, report.qps.length - Math.min(report.qps.length, ...firsts));
  const recent = (values) => values.slice(-charts.samples);
  const named = report.series.map((series) => (
    { ...series, values: recent(series.values), label: labelOf(series, by) }));
  const answers = largest(named.filter(({ kind }) => kind === "answers"));
  const rtts = named.filter(({ kind, values }) => kind === "rtt" && values.some((value) => value !== null));
  const shown = rtts.slice(0, MOST_LINES);
  const left = rtts.length + report.left_out - shown.length;
  const note = left > 0 ? `${left} more: choose a region or find an endpoint` : "";
  fill(find("#charts .charts"),
    lineChart("Queries a second", [{ label: "this server", values: recent(report.qps) }], "", rate),
    answers.some(({ values }) => values.some((value) => value > 0))
      ? shareChart("Share of the answers", answers, report.left_out ? PART : "") : make("p", { class: "soft" }, "No answers yet."),
    shown.length ? lineChart("Round-trip time", shown, " ms", rtt, note)
      : make("p", { class: "soft" }, left > 0 ? `RTTs are not shown: ${PART}` : "No RTT was measured yet."));
}

async function readHistory(by) {
  const query = new URLSearchParams({ by, limit: 200 });
  if (filter.zone) query.set("zone", filter.zone);
  if (filter.region) query.set("region", filter.region);
  const only = store.endpoints.filter(isShown);
  if (by === "endpoint" && only.length === 1) query.set("endpoint", only[0].name);
  return call(`/v1/history?${query}`);
}

/** The share of each region in the answers of the last sample, for the map. */
function measureShares({ series }) {
  const last = series.filter(({ kind, region }) => kind === "answers" && region)
    .map(({ region, values }) => [region, values.at(-1) ?? 0]);
  const total = last.reduce((sum, [, value]) => sum + value, 0);
  store.shares = new Map(total > 0 ? last.map(([region, value]) => [region, value / total]) : []);
}

async function updateCharts() {
  if (document.hidden) return;
  try {
    charts.report = await readHistory(charts.by);
    const isWhole = charts.by === "region" && !filter.zone && !filter.region;
    measureShares(isWhole ? charts.report : await call("/v1/history?kind=answers&by=region&limit=400"));
    drawCharts();
  } catch {
    // The header shows that the server does not answer.
  }
}

new ResizeObserver(drawCharts).observe(find("#charts form"));

find("#charts form").addEventListener("input", (event) => {
  charts.by = event.target.value;
  updateCharts();
});
