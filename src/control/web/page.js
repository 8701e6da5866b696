// Refreshes the board and handles the explain form. Text from the server is only inserted as text, never as markup.
"use strict";

const REFRESH_MS = 2000;   // RTTs and ages also change without a transition
const MAX_TRANSITIONS = 20;
const contact = document.getElementById("contact");
const transitions = document.getElementById("transitions");

// What changes the direction of text, or nobody sees, is shown as an escape.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
function printable(text) {
  return String(text).replace(UNPRINTABLE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = printable(text);
  return made;
}

function table(headings, rows) {
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  headings.forEach((heading) => head.append(element("th", heading)));
  const body = made.createTBody();
  rows.forEach((cells) => {
    const row = body.insertRow();
    cells.forEach((cell, at) => {
      const made = row.insertCell();
      made.textContent = printable(cell);
      made.dataset.label = headings[at];
    });
  });
  return made;
}

let refreshing = false;
async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    const reply = await fetch("/");
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("board");
    if (fresh) document.getElementById("board").replaceWith(fresh);
    contact.textContent = "";
  } catch {
    contact.textContent = "no answer from the server; what is shown may be old";
  } finally {
    refreshing = false;
  }
}

function showTransition(event) {
  const time = new Date(event.at * 1000).toLocaleTimeString();
  const by = event.monitor ? ` by monitor ${event.monitor}` : "";  // only for a name's own monitor
  const of = event.zone ? `${event.endpoint}${by} (${event.zone})` : event.endpoint || "generation";
  transitions.prepend(element("li", `${time}  ${of}: ${event.from} to ${event.to}, ${event.why}`));
  while (transitions.children.length > MAX_TRANSITIONS) transitions.lastChild.remove();
}

function renderExplanation(found) {
  const reasons = (list) => list.map((reason) => `${reason.endpoint}: ${reason.why}`);
  const shares = found.answers.map((a) => [a.endpoint ?? "zone file", a.rdata, `${(a.probability * 100).toFixed(1)} %`]);
  const stages = found.stages.map((s) =>
    [s.stage, `${s.in} in, ${s.out} out`, reasons(s.dropped).join("; "), [s.note, ...reasons(s.kept)].filter(Boolean).join("; ")]);
  return [
    element("p", `${found.name} ${found.type} for ${found.client || "any client"} (class ${found.class}): TTL ${found.ttl}, scope ${found.scope}`),
    table(["Endpoint", "Record", "Probability"], shares),
    table(["Stage", "Endpoints", "Dropped", "Kept, and why"], stages),
  ];
}

async function explain(submitted) {
  submitted.preventDefault();
  const shown = document.getElementById("explanation");
  const query = new URLSearchParams(new FormData(submitted.target));
  try {
    const reply = await fetch(`/v1/explain?${query}`);
    const found = await reply.json();
    if (reply.ok) return shown.replaceChildren(...renderExplanation(found));
    shown.replaceChildren(element("p", found.detail));
  } catch {
    shown.replaceChildren(element("p", "no answer from the server"));
  }
  shown.firstChild.className = "refused";
}

document.getElementById("explain").addEventListener("submit", explain);
fetch("/v1/transitions").then((reply) => reply.json()).then((events) => events.reverse().forEach(showTransition)).catch(() => {});
new EventSource("/v1/events").onmessage = (message) => {
  showTransition(JSON.parse(message.data));
  refresh();
};
setInterval(refresh, REFRESH_MS);
