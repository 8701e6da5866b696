// Explain as a form. The address of the page has the question, so that it can be sent to a colleague.

const explainForm = find("#explain form");

const MOST_REASONS = 6; // Of each stage; the others are behind a click.

function reasons(list) {
  const lines = list.map(({ endpoint, why }) => make("li", {}, make("strong", {}, endpoint), `: ${why}`));
  const shown = lines.slice(0, MOST_REASONS);
  const rest = lines.slice(MOST_REASONS);
  const more = rest.length
    ? make("details", {}, make("summary", {}, `${rest.length} more`), make("ul", {}, rest)) : null;
  return make("div", {}, make("ul", {}, shown), more);
}

function explanation(found) {
  const shares = found.answers.map((answer) =>
    [answer.endpoint ?? "zone file", answer.rdata, percent(answer.probability)]);
  const stages = found.stages.map((stage) => [
    stage.stage, `${stage.in} in, ${stage.out} out`, reasons(stage.dropped),
    make("div", {}, stage.note ?? "", reasons(stage.kept)),
  ]);
  const why = [
    ["Class", found.class, found.class_why], ["TTL", "", found.ttl_why], ["Scope", `/${found.scope}`, found.scope_why],
  ];
  const overall = found.overall?.map((answer) => `${percent(answer.probability)} ${answer.endpoint}`).join(", ");
  if (found.affinity_why) why.push(["Affinity", "", `${found.affinity_why}; over all clients ${overall || "nothing"}`]);
  return [
    make("p", {}, make("strong", {}, `${found.name} ${found.type}`), ` for ${found.client || "any client"}`,
      found.stale ? badge("warning", "stale: the last good answer") : null),
    make("dl", { class: "why" }, why.map(([label, value, reason]) => make("div", {}, make("dt", {}, label),
      make("dd", {}, `${value} `, make("span", { class: "soft" }, reason ?? ""))))),
    table(["Endpoint", "Record", "Probability"], shares),
    table(["Stage", "Endpoints", "Dropped", "Kept, and why"], stages),
  ];
}

/** A sentence instead of a result. */
function refusal(error) {
  return make("p", { class: "refused" }, isSilence(error) ? "no answer from the server" : error.message);
}

async function explain() {
  const fields = explainForm.elements;
  const [name, type, client] = ["name", "type", "client"].map((field) => fields[field].value.trim());
  const query = new URLSearchParams({ name, type });
  if (client) query.set(store.places?.has(client) ? "region" : "client", client);
  setAddress("explain", new URLSearchParams({ name, type, client }));
  const shown = find("#explanation");
  try {
    fill(shown, explanation(await call(`/v1/explain?${query}`)));
  } catch (error) {
    fill(shown, refusal(error));
  }
}

explainForm.addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});

onRoute("explain", (query) => {
  if (!query.get("name")) return;
  ["name", "type", "client"].forEach((field) => {
    explainForm.elements[field].value = query.get(field) ?? (field === "type" ? "A" : "");
  });
  explain();
});

onChange(() => {
  rebuild(find("#all-names"), store.names.map(fullName), () =>
    store.names.map((name) => make("option", { value: fullName(name) })));
  const regions = [...store.places.keys()];
  rebuild(find("#regions"), regions, () => regions.map((value) => make("option", { value })));
});
