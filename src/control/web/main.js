// Puts the parts together: the filter, the keyboard, and what happens when.

const filterForm = find("#filter");

function readFilter() {
  const before = `${filter.text} ${filter.zone}`;
  filter.text = find("#find").value.trim();
  filter.zone = find("#zone").value;
  filter.region = find("#region").value;
  filter.bad = find("#bad").checked;
  setAddress("names", new URLSearchParams({
    q: filter.text, zone: filter.zone, region: filter.region, bad: filter.bad ? "1" : "",
  }));
  render();
  // The server searches the names, of which only the first are here.
  if (before !== `${filter.text} ${filter.zone}`) refresh();
  updateCharts();
}

/** Sets the filter of an address. */
function openFilter(query) {
  find("#find").value = query.get("q") ?? "";
  for (const key of ["zone", "region"]) {
    const select = find(`#${key}`);
    const value = query.get(key) ?? "";
    if (value && ![...select.options].some((option) => option.value === value)) {
      select.append(make("option", { value, "data-own": "1" }, value));
    }
    select.value = value;
  }
  find("#bad").checked = query.get("bad") === "1";
  readFilter();
}

filterForm.addEventListener("input", readFilter);
filterForm.addEventListener("submit", (event) => event.preventDefault());

find("#copy").addEventListener("click", async () => {
  const words = find("#copied");
  try {
    await navigator.clipboard.writeText(location.href);
    write(words, "copied");
  } catch {
    // Only pages of https or of this host may use the clipboard.
    write(words, "copy it from the address bar");
  }
  setTimeout(() => write(words, ""), 3000);
});

// A link to the section alone keeps the filter, and puts it into the address.
onRoute("names", (query) => (query.toString() ? openFilter(query) : readFilter()));

onChange(() => {
  offer(find("#zone"), store.status.zones.map(({ zone }) => zone));
  offer(find("#region"), [...store.places.keys()]);
});

// Keys of one character can be turned off (WCAG 2.2, 2.1.4).
const KEYS_OFF = "portolan.keys.off";
const keysBox = find("#keys");

keysBox.checked = localStorage.getItem(KEYS_OFF) === null;
keysBox.addEventListener("input", () => {
  if (keysBox.checked) localStorage.removeItem(KEYS_OFF);
  else localStorage.setItem(KEYS_OFF, "1");
});

/** `/` goes to the search, Escape clears it; the digits go to the sections. */
document.addEventListener("keydown", (event) => {
  const isField = event.target.matches?.("input:not([type=checkbox]), select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !isField && keysBox.checked) {
    event.preventDefault();
    find("#find").focus();
  }
  if (event.key === "Escape" && event.target.id === "find") {
    event.target.value = "";
    readFilter();
  }
  const links = document.querySelectorAll("nav a:not([hidden])");
  // 0 is the tenth.
  const link = isField || !keysBox.checked ? null : links[(Number(event.key) + 9) % 10];
  if (/^[0-9]$/.test(event.key) && link) link.click();
});

/** Refreshes for ever; not while nobody sees the page. */
async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, REFRESH_MS);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    // A browser has few connections to a server: tabs that nobody sees hold none.
    closeStream();
    return;
  }
  openStream();
  refresh();
  updateCharts();
});

addEventListener("hashchange", follow);

setInterval(showClocks, 1000);
setInterval(showContact, 1000);
setInterval(updateCharts, CHART_MS);

showClocks();
await refresh();
await startTimeline();
await updateCharts();
render();
if (token()) signIn();
follow();
keepFresh();
