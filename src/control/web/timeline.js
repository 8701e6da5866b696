// The timeline: events, the newest first, live by server-sent events. In a fleet they are those of all servers. After a
// break the stream goes on after the last event that is here.

const MOST_EVENTS = 1000; // In memory: an incident of a large fleet.
const SHOWN_EVENTS = 30; // More on request.
const STREAM_RETRY_MS = 3000; // A stream that the server refused is tried again.

const timeline = {
  events: [], ids: new Set(), source: null, last: "", shown: SHOWN_EVENTS, isOpen: false, isFleet: false,
  isRefused: false, // The stream of the fleet was refused, so that of this server is used.
};

const KIND_WORDS = {
  transition: "health", override: "override", failback: "failback", promotion: "promotion", reload: "reload",
  lost: "lost events", drill: "drill", discovery: "discovery", source: "source", gap: "gap",
};
const EVENT_STATES = {
  up: "up", down: "down", unknown: "unknown", drained: "drained", "forced-down": "down", "forced-up": "up",
};

function addEvents(events) {
  // Those without a number come again with one.
  const fresh = events.filter((event) => event.id && !timeline.ids.has(event.id));
  fresh.forEach((event) => timeline.ids.add(event.id));
  timeline.events = [...fresh, ...timeline.events].sort((a, b) => b.at - a.at);
  timeline.events.splice(MOST_EVENTS).forEach((event) => timeline.ids.delete(event.id));
}

function regionOf(event) {
  const isIt = ({ name, zone }) => name === event.endpoint && (!event.zone || zone === event.zone);
  const found = store.endpoints.find(isIt);
  return found?.region ?? (event.endpoint.startsWith("region:") ? event.endpoint.slice(7) : "");
}

function isShownEvent(event) {
  if (filter.zone && event.zone && event.zone !== filter.zone) return false;
  if (filter.region && regionOf(event) !== filter.region) return false;
  if (!filter.text) return true;
  const text = filter.text.toLowerCase();
  return [event.endpoint, event.zone, event.why].some((each) => each?.toLowerCase().includes(text));
}

function eventRow(event) {
  const kind = event.kind ?? "transition";
  const of = event.endpoint || event.zone || (kind === "reload" ? "the files" : "the server");
  const zone = event.endpoint && event.zone ? ` ${event.zone.replace(/\.$/, "")}` : "";
  const by = event.monitor ? ` by monitor ${event.monitor}` : "";
  const node = timeline.isFleet && event.id ? `, seen by ${event.id.split("/")[0]}` : "";
  // Sentences on overrides have the operator already.
  const who = event.who && !event.why.includes(event.who) ? `, by ${event.who}` : "";
  return make("li", { class: EVENT_STATES[event.to] ?? "" },
    make("time", { datetime: new Date(event.at * 1000).toISOString() }, moment(event.at)), " ",
    make("span", { class: "kind" }, KIND_WORDS[kind] ?? kind), " ",
    make("span", { class: "what" }, make("strong", {}, of), make("span", { class: "soft" }, zone + by), " ",
      event.from || event.to ? `${event.from || "none"} → ` : "",
      event.to ? badge(EVENT_STATES[event.to] ?? "", event.to) : event.from ? "none" : "",
      ` ${event.why}`, make("span", { class: "soft" }, who + node)));
}

function showEvents() {
  const all = timeline.events.filter(isShownEvent);
  const shown = all.slice(0, timeline.shown);
  sync(find("#transitions"), shown, (event) => event.id, eventRow);
  write(find("#timeline small"), all.length ? "" : "nothing has changed yet");
  change(find("#timeline button.more"), { hidden: all.length <= shown.length });
}

find("#timeline button.more").addEventListener("click", () => {
  timeline.shown += 100;
  showEvents();
});

let gaps = 0;

/** A line for events that the server no longer has. */
function addGap(words) {
  gaps += 1;
  const at = Date.now() / 1000;
  addEvents([{ id: `gap ${gaps}`, at, kind: "gap", endpoint: "", zone: "", from: "", to: "", why: words }]);
  showEvents();
}

function streamWord() {
  return timeline.isOpen ? "live" : "without a stream of events: read every 2 s";
}

function openStream() {
  if (timeline.source || document.hidden) return;
  const query = new URLSearchParams();
  if (timeline.isFleet) query.set("fleet", "true");
  if (timeline.last) query.set("since", timeline.last);
  const source = new EventSource(`/v1/events?${query}`);
  timeline.source = source;
  source.onopen = () => {
    timeline.isOpen = true;
    showContact();
    refresh();
    // What happened between the first reading and the stream.
    readRecent();
  };
  source.onmessage = (message) => {
    timeline.last = message.lastEventId;
    addEvents([JSON.parse(message.data)]);
    showEvents();
    refresh();
  };
  source.addEventListener("lagged", (message) => addGap(`${JSON.parse(message.data).missed} events were missed`));
  source.addEventListener("unknown", () => {
    // Alone and without a state directory, a server numbers its events from 1 again.
    if (!timeline.isFleet) {
      timeline.ids.clear();
      timeline.events.forEach((event) => {
        event.id += " before the restart";
      });
    }
    addGap("the server has started anew: earlier events are not known to it");
  });
  source.onerror = () => {
    timeline.isOpen = false;
    showContact();
    // The browser connects again by itself, with the id of the last event, unless the server refused the stream.
    if (source.readyState !== EventSource.CLOSED) return;
    closeStream();
    timeline.isRefused = timeline.isFleet;
    setTimeout(startTimeline, STREAM_RETRY_MS);
  };
}

function closeStream() {
  timeline.source?.close();
  timeline.source = null;
  timeline.isOpen = false;
}

/** Reads the last events of this server. */
async function readRecent() {
  try {
    const events = await call("/v1/transitions");
    addEvents(events);
    showEvents();
    return events;
  } catch {
    // The refresh shows that the server does not answer.
    return [];
  }
}

/** Reads the last events, and goes on with the stream after them. */
async function startTimeline() {
  // A server that has not read the stream of the fleet yet has its own events.
  timeline.isFleet = Boolean(store.status?.fleet) && !timeline.isRefused;
  const events = await readRecent();
  timeline.last = timeline.isFleet ? "" : (events[0]?.id ?? "");
  openStream();
}

onChange(showEvents);
