// Act: drain, force up or down, clear, failback. Only with a token, which stays in this tab. Each change is simulated
// first, and needs a confirmation that says who loses what.

const TOKEN_KEY = "portolan.token";

const ACTIONS = [
  { word: "drain", state: "drain", text: "Drain: no new answers, still probed" },
  { word: "force down", state: "down", text: "Force down: never answered" },
  { word: "force up", state: "up", text: "Force up: answered whatever probes find" },
  { word: "clear", state: null, text: "Clear: the override ends" },
  { word: "failback", state: null, text: "Failback: a name with manual failback goes back" },
];

const act = { form: null };

const token = () => sessionStorage.getItem(TOKEN_KEY) ?? "";

function callAs(path, method, body) {
  const headers = { authorization: `Bearer ${token()}` };
  if (body) headers["content-type"] = "application/json";
  return call(path, { method, headers, body: body ? JSON.stringify(body) : undefined });
}

function field(labelText, ...parts) {
  return make("label", {}, `${labelText} `, parts);
}

function actionForm() {
  const options = ACTIONS.map(({ word, text }) => make("option", { value: word }, text));
  const text = (name, attributes) => make("input", { name, autocomplete: "off", spellcheck: "false", ...attributes });
  const lasting = ["15m", "1h", "2h", "8h", "1d"].map((value) => make("option", { value }));
  const form = make("form", { class: "change" },
    field("Do", make("select", { name: "action" }, options)),
    field("to", text("target", { required: "", list: "targets", placeholder: "endpoint, region:NAME, pool:NAME" })),
    field("Why", text("why", { required: "", maxlength: 200, placeholder: "rack move, ticket 4711" })),
    field("For how long", text("for", { size: 12, list: "times", placeholder: "until cleared" })),
    make("datalist", { id: "times" }, lasting),
    make("button", {}, "Preview"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    preview(form);
  });
  form.addEventListener("input", () => adapt(form));
  return form;
}

const actionOf = (form) => ACTIONS.find(({ word }) => word === form.elements.action.value);

/** A clear or a failback has no reason and no end. */
function adapt(form) {
  const hasReason = actionOf(form).state !== null;
  for (const name of ["why", "for"]) {
    form.elements[name].disabled = !hasReason;
    change(form.elements[name].parentElement, { hidden: !hasReason });
  }
  fill(find("#outcome"));
}

function orderOf(form) {
  const { target, why } = form.elements;
  const [name, reason, time] = [target, why, form.elements.for].map((input) => input.value.trim());
  return { action: actionOf(form), target: name, why: reason, lasting: time };
}

const sentence = ({ action, target, lasting }) =>
  `${action.word} ${target}${action.state ? (lasting ? ` for ${lasting}` : " until it is cleared") : ""}`;

async function preview(form) {
  const order = orderOf(form);
  const shown = find("#outcome");
  try {
    let report = null;
    if (order.action.state) {
      report = await simulate({ override: [{ target: order.target, state: order.action.state }] });
    }
    confirmation(shown, order, report);
  } catch (error) {
    fill(shown, refusal(error));
  }
}

/** Who loses what, and the button that does it. */
function confirmation(shown, order, report, why = "") {
  const losesAnswers = Boolean(why) || report?.unanswered?.length > 0;
  const box = make("input", { type: "checkbox", name: "accept" });
  const button = make("button", { type: "button", class: "danger" }, `Confirm: ${sentence(order)}`);
  const cancel = make("button", { type: "button" }, "Cancel");
  button.disabled = losesAnswers;
  box.addEventListener("input", () => {
    button.disabled = !box.checked;
  });
  button.addEventListener("click", () => execute(shown, order, box.checked));
  cancel.addEventListener("click", () => fill(shown));
  fill(shown, make("div", { class: "confirm", role: "group", "aria-label": "Confirmation" },
    make("h3", {}, `${sentence(order)}?`),
    why ? make("p", { class: "loss" }, why) : null,
    report ? effect(report) : make("p", {}, order.action.word === "clear"
      ? "The override of this target ends; then other overrides of its endpoints, health and policy decide. "
        + "This is not simulated."
      : "The name goes back to the first member that is up."),
    losesAnswers ? make("label", { class: "check" }, box, " These clients may stay without an answer") : null,
    make("p", {}, button, " ", cancel)));
  button.scrollIntoView({ block: "nearest" });
}

function send({ action, target, why, lasting }, confirm) {
  const path = encodeURIComponent(target);
  if (action.word === "failback") return callAs(`/v1/failback/${path}`, "POST");
  if (action.word === "clear") return callAs(`/v1/overrides/${path}`, "DELETE");
  const body = { state: action.state, why, ...(lasting ? { for: lasting } : {}), ...(confirm ? { confirm } : {}) };
  return callAs(`/v1/overrides/${path}`, "PUT", body);
}

async function execute(shown, order, confirm) {
  try {
    const done = await send(order, confirm);
    const entry = done.override;
    const notes = [done.warning, done.not_shared].filter(Boolean);
    const lost = done.moved.unanswered_share;
    fill(shown, make("p", { class: "done" }, make("strong", {}, `Done: ${sentence(order)}`),
      entry ? `, by ${entry.who}` : "", `. ${percent(done.moved.share)} of the answers moved.`),
    lost ? make("p", { class: "loss" }, `${percent(lost)} of the questions get no answer now.`) : null,
    notes.map((note) => make("p", { class: "warning" }, note)));
  } catch (error) {
    if (error.status === 409 && error.body?.unanswered) confirmation(shown, order, error.body, error.message);
    else fill(shown, refusal(error));
  }
  refresh();
  listOverrides();
}

/** The overrides in force, each with a button that clears it. If nothing changed, the buttons stay, with their focus. */
async function listOverrides() {
  const list = find("#act .overrides");
  if (!list) return;
  try {
    const entries = await callAs("/v1/overrides", "GET");
    rebuild(list, entries, () => (entries.length ? entries.map((entry) => {
      const button = make("button", { type: "button" }, `Clear ${entry.target}`);
      button.addEventListener("click", () => {
        confirmation(find("#outcome"), { action: ACTIONS.find(({ word }) => word === "clear"), target: entry.target, why: "", lasting: "" }, null);
      });
      return make("li", {}, badge("drained", entry.state), " ", make("strong", {}, entry.target),
        ` by ${entry.who}: ${entry.why}${until(entry)} `, button);
    }) : make("li", {}, "Nothing is overridden.")));
  } catch (error) {
    rebuild(list, error.message, () => make("li", {}, error.message));
  }
}

async function signIn() {
  const shown = find("#outcome");
  try {
    await callAs("/v1/overrides", "GET");
  } catch (error) {
    if (error.status === 401 || error.status === 403) signOut();
    fill(shown, refusal(error));
    return;
  }
  const out = make("button", { type: "button" }, "Forget the token");
  out.addEventListener("click", signOut);
  act.form = actionForm();
  const box = find("#act .actions");
  fill(box, act.form, make("h3", {}, "Overrides in force"), make("ul", { class: "overrides" }), make("p", {}, out));
  change(box, { hidden: false });
  change(find("#act .token"), { hidden: true });
  fill(shown);
  aim(address().query);
  listOverrides();
}

function signOut() {
  sessionStorage.removeItem(TOKEN_KEY);
  act.form = null;
  fill(find("#act .actions"));
  fill(find("#outcome"));
  change(find("#act .actions"), { hidden: true });
  change(find("#act .token"), { hidden: false });
}

/** Takes the target from the address. */
function aim(query) {
  const target = query.get("target");
  if (act.form && target && address().section === "act") act.form.elements.target.value = target;
}

find("#act .token").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = event.target.elements.token;
  sessionStorage.setItem(TOKEN_KEY, input.value.trim());
  input.value = "";
  signIn();
});

onRoute("act", aim);
