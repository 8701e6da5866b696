// The steered names: what each class of clients gets now, from where, and whether the policy prefers that.

const MOST_ANSWERS = 6;
const MOST_ROWS = 200;
// A measured share is compared when there were so many answers: then chance moves it by less than 0.1.
const ENOUGH_ANSWERS = 200;
const FAR_OFF = 0.1;

function fullName({ name, zone }) {
  const apex = zone.replace(/\.$/, "");
  return name === "@" ? apex : `${name}.${apex}`;
}

/** Classes and types with the same answer share a row. */
function answerRows(name) {
  const rows = new Map();
  for (const of of name.classes) {
    const answers = of.answers.map((answer) => [answer.endpoint ?? answer.rdata, answer.probability.toFixed(3)]);
    const key = JSON.stringify([of.gives, of.from, of.preferred, answers]);
    const row = rows.get(key) ?? { key, classes: new Set(), types: new Set(), of };
    row.classes.add(of.class);
    row.types.add(of.type);
    rows.set(key, row);
  }
  return [...rows.values()].sort((a, b) => Number(a.of.preferred) - Number(b.of.preferred));
}

/** The measured share of each endpoint; null where too little was measured. */
function measuredShares({ measured }) {
  const total = measured?.answers.reduce((sum, { count: each }) => sum + each, 0) ?? 0;
  if (!total) return null;
  const shares = new Map(measured.answers.map(({ endpoint, count: each }) => [endpoint, each / total]));
  return { total, shares, over: measured.over_s };
}

function answerLines({ of, types }, measured) {
  const sum = of.answers.reduce((all, answer) => all + answer.probability, 0) || 1;
  const shown = of.answers.slice(0, MOST_ANSWERS).map((answer) => {
    const isAlways = answer.probability > 0.9995;
    const share = answer.probability / sum;
    const real = measured && answer.endpoint ? (measured.shares.get(answer.endpoint) ?? 0) : null;
    const isOff = real !== null && measured.total >= ENOUGH_ANSWERS && Math.abs(real - share) > FAR_OFF;
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, make("i"));
    bar.firstChild.style.width = `${share * 100}%`;
    const data = types.size === 1 || !answer.endpoint ? ` ${answer.rdata}` : "";
    return make("li", {}, bar, make("span", { class: "what" },
      make("strong", {}, answer.endpoint ?? "zone file"), data, isAlways ? "" : ` ${percent(answer.probability)}`,
      real === null ? null : make("span", { class: isOff ? "warning" : "soft" },
        `, measured ${percent(real)}${isOff ? ", which differs from the weights" : ""}`)));
  });
  const more = of.answers.length - shown.length;
  if (more > 0) shown.push(make("li", {}, `and ${more} more`));
  return shown.length ? shown : [make("li", {}, "nothing (NODATA)")];
}

function preference({ of }) {
  if (of.on_empty) return [badge("down", "no: on_empty answers"), prefers(of)];
  return of.preferred ? [badge("up", "yes")] : [badge("warning", "no"), prefers(of)];
}

function prefers(of) {
  return of.prefers?.length ? make("span", { class: "soft" }, ` prefers ${of.prefers.join(", ")}`) : null;
}

/** The lease of an exclusive name. */
function leaseOf({ zone, name }) {
  const leases = store.status.zones.find((each) => each.zone === zone)?.exclusive ?? [];
  const lease = leases.find((each) => each.name === name);
  if (!lease) return "";
  const holder = lease.holder ? `held by ${lease.holder}` : "holder unknown";
  const epoch = lease.epoch === undefined ? "" : `, epoch ${lease.epoch}`;
  return `exclusive: ${lease.endpoint || "not known yet"}${epoch}, ${holder}${lease.promoting ? `, promoting ${lease.promoting}` : ""}`;
}

function nameRow({ name, row, isFirst, isOnly, lease }) {
  const full = fullName(name);
  const type = [...row.types][0];
  const query = new URLSearchParams({ name: full, type });
  const first = isFirst
    ? [make("a", { href: `#names?${new URLSearchParams({ q: full })}` }, full), " ",
      make("a", { class: "aside", href: `#explain?${query}`, "aria-label": `Explain ${full}` }, "explain")]
    : [make("span", { class: "repeated" }, full)];
  const measured = measuredShares(name);
  const lines = answerLines(row, isOnly ? measured : null);
  const note = isOnly || !isFirst || !measured ? null
    : make("p", { class: "soft" }, `all clients, measured over ${lasting(measured.over)}: `,
      [...measured.shares].map(([endpoint, share]) => `${endpoint} ${percent(share)}`).join(", "));
  return [
    make("td", { "data-label": "Name" }, first, lease ? make("div", { class: "soft" }, lease) : null),
    make("td", { "data-label": "Clients" }, [...row.classes].join(", "),
      make("span", { class: "soft" }, ` ${[...row.types].join(", ")}`)),
    make("td", { "data-label": "Get now" }, make("ul", { class: "answers" }, lines), note),
    make("td", { "data-label": "As preferred" }, preference(row)),
  ];
}

function shownNames() {
  const mayShow = (name) => (!filter.bad || !name.preferred) && (!filter.zone || name.zone === filter.zone);
  const ofRegion = store.endpoints.filter(({ region }) => region === filter.region);
  const inRegion = new Set(ofRegion.map(({ zone, name }) => `${zone}/${name}`));
  const hasRegion = (name) => !filter.region || name.classes.some((of) =>
    of.class === "any" || of.class.split(", ").includes(filter.region) ||
    of.answers.some((answer) => inRegion.has(`${name.zone}/${answer.endpoint}`)));
  return store.names.filter((name) => mayShow(name) && hasRegion(name));
}

onChange(() => {
  const shown = shownNames();
  const rows = shown.flatMap((name) => {
    const all = answerRows(name);
    const lease = leaseOf(name);
    return all.map((row, at) => ({ name, row, isFirst: at === 0, isOnly: all.length === 1, lease: at ? "" : lease }));
  }).slice(0, MOST_ROWS);
  sync(find("#names tbody"), rows, ({ name, row }) => `${name.zone}/${name.name} ${row.key}`, () => make("tr"),
    (node, item) => {
      const { row, name } = item;
      change(node, { class: row.of.on_empty ? "down" : row.of.preferred ? "up" : "warning" });
      const { answers, prefers: better } = row.of;
      const facts = [[...row.classes], [...row.types], answers, better, name.measured, item.isFirst, item.lease];
      rebuild(node, facts, () => nameRow(item));
    });
  const all = store.status.zones.reduce((sum, zone) => sum + zone.names.length, 0);
  const away = store.away.length;
  write(find("#names small"), all ? `${count(all, "name")}, ${away || "none"} not as preferred` : "no steered names");
  const left = all - shown.length;
  write(find("#names p.more"), left > 0 ? `${count(left, "more name")}: search for a part of the name.` : "");
});
