// Elements and texts. What comes from the server is only ever inserted as text.

const SVG_SPACE = document.querySelector("svg").namespaceURI;

// Characters that change the direction of text, or that nobody sees, are shown as escapes.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

function printable(text) {
  return String(text).replace(UNPRINTABLE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

function find(selector) {
  return document.querySelector(selector);
}

/** Sets attributes. `false` and `null` remove one. */
function change(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) {
      if (node.hasAttribute(name)) node.removeAttribute(name);
    } else if (node.getAttribute(name) !== String(value)) {
      node.setAttribute(name, printable(value));
    }
  }
  return node;
}

function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : printable(child));
  }
  return node;
}

/** A new element: `make("p", { class: "x" }, "text", child)`. */
function make(tag, attributes = {}, ...children) {
  return add(change(document.createElement(tag), attributes), children);
}

/** A new element of a drawing. */
function draw(tag, attributes = {}, ...children) {
  return add(change(document.createElementNS(SVG_SPACE, tag), attributes), children);
}

/** Replaces the text, if it differs. */
function write(node, text) {
  const shown = printable(text);
  if (node.textContent !== shown) node.textContent = shown;
  return node;
}

function fill(node, ...children) {
  node.replaceChildren();
  return add(node, children);
}

/**
 * Makes the children of `parent` those of `items`, in their order. An item that was there keeps its element: `update`
 * gets it and changes what differs. Children that are not of an item stay where they are, at the beginning.
 */
function sync(parent, items, keyOf, create, update) {
  const known = parent.byKey ?? new Map();
  const next = new Map();
  const old = new Set(known.values());
  let place = parent.firstElementChild;
  while (place && !old.has(place)) place = place.nextElementSibling;
  for (const item of items) {
    const key = keyOf(item);
    if (next.has(key)) continue;
    const node = known.get(key) ?? create(item);
    known.delete(key);
    next.set(key, node);
    update?.(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  known.forEach((node) => node.remove());
  parent.byKey = next;
}

/**
 * Replaces the content of `node` by what `build` returns, if `facts` differ from those of the last call. A list of a
 * thousand rows costs little while nothing changes.
 */
function rebuild(node, facts, build) {
  const text = JSON.stringify(facts);
  if (node.facts === text) return;
  node.facts = text;
  fill(node, build());
}

function badge(state, text = state) {
  return make("span", { class: `badge ${state}` }, text);
}

/** A table of texts. */
function table(headings, rows) {
  const head = make("tr", {}, headings.map((heading) => make("th", { scope: "col" }, heading)));
  const cells = (row) => row.map((cell, at) => make("td", { "data-label": headings[at] }, cell));
  const body = rows.map((row) => make("tr", {}, cells(row)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, body));
}

function percent(share) {
  if (share > 0 && share < 0.001) return "under 0.1 %";
  const number = share * 100;
  return `${Number.isInteger(number) || number >= 99.95 ? Math.round(number) : number.toFixed(1)} %`;
}

function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function rtt(ms) {
  if (ms === null || ms === undefined) return "";
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function rate(perSecond) {
  if (perSecond >= 10000) return `${Math.round(perSecond / 1000)}k`;
  return perSecond >= 10 ? String(Math.round(perSecond)) : perSecond.toFixed(1).replace(/\.0$/, "");
}

function lasting(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const at = units.findIndex(([, length]) => seconds >= length);
  if (at < 0) return `${Math.max(0, Math.floor(seconds))} s`;
  const [unit, length] = units[at];
  const next = units[at + 1];
  const rest = next ? Math.floor((seconds % length) / next[1]) : 0;
  return `${Math.floor(seconds / length)} ${unit}${rest ? ` ${rest} ${next[0]}` : ""}`;
}

const clockOf = (date, zone) => date.toLocaleTimeString("en-GB", { hour12: false, timeZone: zone });

/** `14:03:07`, with the date where it is not today. */
function moment(unix) {
  const date = new Date(unix * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clockOf(date) : `${date.toLocaleDateString("en-CA")} ${clockOf(date)}`;
}

const matchesMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** Shows that a node has changed, where the reader wants movement. */
function flash(node) {
  if (matchesMotion.matches) return;
  node.classList.remove("changed");
  // A frame without the class ends the animation that ran.
  requestAnimationFrame(() => requestAnimationFrame(() => node.classList.add("changed")));
}
