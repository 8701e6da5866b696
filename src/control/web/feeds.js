// Feeds: sources of endpoints, sinks of events, and streams that are followed. Each with its state, its counts, its
// last change, and what is wrong.

/** What is alike for all: `level` is the class of the state, `words` are for the list of problems. */
function feed(name, { type, changed_at: changed, problem }, more) {
  // What says something although the feed works is a note.
  const level = more.level ?? (problem ? "warning" : "up");
  return { name, type, changed, problem: problem ?? "", ...more, level };
}

/**
 * What `states` has of a report's state: its class, words for the list of problems, and the text that is shown, if that
 * is not the word of the API. A state that it does not have is shown as `live`.
 */
function shownState(states, { state }) {
  const [level, words, shown = state] = states[state] ?? [null, "", "live"];
  return { level, words, state: shown };
}

const SOURCE_STATES = {
  away: ["warning", "is away, so its last list stays"],
  kept: ["down", "is kept, because too much disappeared at once"],
  bad: ["down", "is bad, so its last list stays"],
};

function sourceFeed(source) {
  const { level, words, state } = shownState(SOURCE_STATES, source);
  const since = source.age_ms ? lasting(source.age_ms / 1000) : "";
  const age = since && (level ? `, its list is ${since} old` : `, read ${since} ago`);
  const left = source.left_out ? `, ${source.left_out} left out` : "";
  return feed(source.name, source, {
    place: source.zone, zone: source.zone, level, words, state: `${state}${age}`,
    counts: `${count(source.endpoints, "endpoint")}${left}`,
  });
}

const SINK_STATES = {
  waiting: ["warning", "is waiting with the events of some endpoints"],
  retrying: ["warning", "is away, so its events wait"],
  off: ["down", "is off until a restart"],
};

function sinkFeed(sink) {
  const { level, words, state } = shownState(SINK_STATES, sink);
  const failure = sink.state === "waiting" ? sink.waiting?.[0] : sink.last_error;
  const problem = level && failure ? `${failure.why} (${failure.hint})` : "";
  const { behind, delivered, dead_letters: refused, lost } = sink;
  return feed(`sink.${sink.name}`, { ...sink, problem }, {
    place: sink.to, level, words, state,
    counts: `${count(delivered, "event")} delivered, ${behind} behind, ${refused} refused, ${lost} lost`,
  });
}

const FOLLOW_STATES = {
  away: ["warning", "is away, so what it has set stays"],
  gap: ["warning", "is followed again, and events before were missed"],
  waiting: ["unknown", "", "not read yet"],
};

function followFeed(follow) {
  const { level, words, state } = shownState(FOLLOW_STATES, follow);
  const { applied, behind, refused, missed } = follow;
  return feed(`follow.${follow.name}`, follow, {
    place: follow.from, level, words, state,
    counts: `${count(applied, "change")}, ${behind} behind, ${refused} refused, ${missed} missed`,
  });
}

function feeds({ sources, sinks, follows }) {
  return [...(sources ?? []).map(sourceFeed), ...(sinks ?? []).map(sinkFeed), ...(follows ?? []).map(followFeed)];
}

/** Sentences without ages, so that a screen reader says each of them once. */
function feedProblems(status) {
  const wrong = feeds(status).filter(({ words, problem }) => words || problem);
  return wrong.map(({ name, level, words, problem }) => {
    const text = [words && ` ${words}`, problem && `: ${problem}`].join("");
    return [level === "down" ? "down" : "warning", `${name}${text}`];
  });
}

function isShownFeed(feed) {
  if (filter.zone && feed.zone && feed.zone !== filter.zone) return false;
  if (filter.bad && feed.level === "up") return false;
  const text = filter.text.toLowerCase();
  return [feed.name, feed.place, feed.type].some((each) => each?.toLowerCase().includes(text));
}

function feedCells({ name, type, place, level, state, counts, changed, problem }) {
  return [
    make("th", { scope: "row" }, name, make("span", { class: "soft" }, ` ${type}, ${place}`)),
    make("td", { "data-label": "State" }, badge(level, state)),
    make("td", { "data-label": "Counts" }, counts),
    make("td", { "data-label": "Last change" }, changed ? moment(changed) : "none since the start"),
    make("td", { "data-label": "What is wrong" }, problem || "nothing"),
  ];
}

function updateFeed(row, feed) {
  const before = row.dataset.level;
  rebuild(row, feed, () => feedCells(feed));
  change(row, { "data-feed": feed.name, "data-level": feed.level, class: feed.level });
  if (before && before !== feed.level) flash(row);
}

onChange(() => {
  const all = feeds(store.status);
  const shown = all.filter(isShownFeed);
  change(find("#feeds"), { hidden: all.length === 0 });
  change(find('nav a[href="#feeds"]'), { hidden: all.length === 0 });
  sync(find("#feeds tbody"), shown, ({ name, place }) => `${name} ${place}`, () => make("tr"), updateFeed);
  write(find("#feeds small"), shown.length === all.length ? String(all.length) : `${shown.length} of ${all.length}`);
});
