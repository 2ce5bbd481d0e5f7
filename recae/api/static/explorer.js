// The explorer page: asks the API that every other program asks, and shows the answers. No library, no build step.
// Text from the catalogue only ever becomes text nodes.

const byId = (id) => document.getElementById(id);
const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};
const named = (item) => item.title || item.item_id;

// ---------------------------------------------------------------- the API

class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message || `The server answered with ${status}.`);
    this.status = status;
  }
}

async function ask(path, body, { quiet = false } = {}) {
  const method = body === undefined ? "GET" : "POST";
  const headers = {};
  const key = sessionStorage.getItem("recae-key");
  if (key) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const found = await response.json().catch(() => null);
  if (response.status === 401 && key && sessionStorage.getItem("recae-key") === key) sessionStorage.removeItem("recae-key"); // refused
  if (!quiet && (response.status === 401 || response.status === 403)) {
    if (await askForKey(found?.error?.message)) return ask(path, body);
  }
  if (!response.ok) throw new ApiError(response.status, found);
  const version = response.headers.get("X-Model-Version");
  if (version && !body?.model) byId("serving").textContent = version;
  return found;
}

const part = encodeURIComponent;
const recommend = (body) => ask("/v1/recommendations", body);

let keyAsked = null; // one dialog, however many requests need it
function askForKey(why) {
  keyAsked ??= answerOf(byId("key-dialog"), () => { if (why) byId("key-why").textContent = why; }).then((answer) => {
    keyAsked = null;
    const key = byId("key").value.trim();
    if (answer !== "save" || !key) return false;
    sessionStorage.setItem("recae-key", key);
    byId("key").value = "";
    return true;
  });
  return keyAsked;
}

function answerOf(dialog, prepare) {
  const opener = document.activeElement;
  prepare();
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    opener.focus({ preventScroll: true });
    // Nothing had the focus, or what had it is gone: it must not be left in the dialog that is closed.
    if (opener === document.body || document.activeElement !== opener) titleInSight().focus({ preventScroll: true });
    resolve(dialog.returnValue);
  }, { once: true }));
}

const titleInSight = () => document.querySelector(".view:not([hidden]) h1");

function tell(error) {
  byId("notice").textContent = error ? error.message : "";
  byId("notice").hidden = !error;
}

// Runs work, shows that it goes on, and what went wrong. Of two that overlap in one place the later counts.
const latest = new Map();
async function show(place, work) {
  const mine = Symbol(place);
  latest.set(place, mine);
  const isCurrent = () => latest.get(place) === mine;
  setWaiting(place, true);
  try {
    await work(isCurrent);
    if (isCurrent()) tell(null);
  } catch (error) {
    if (isCurrent()) tell(error);
  } finally {
    if (isCurrent()) setWaiting(place, false);
  }
}

function setWaiting(place, waiting) {
  for (const panel of document.querySelectorAll(`#${place} [aria-busy]`)) panel.setAttribute("aria-busy", String(waiting));
  // Not `disabled`, which would take the keyboard's focus away from the button that was just pressed.
  for (const button of document.querySelectorAll(`#${place} [type=submit]`)) button.setAttribute("aria-disabled", String(waiting));
}

function onSubmit(place, work) {
  byId(`${place}-form`).addEventListener("submit", (event) => {
    event.preventDefault();
    const isWaiting = document.querySelector(`#${place} [type=submit]`).getAttribute("aria-disabled") === "true";
    if (!isWaiting) show(place, work);
  });
}

// ---------------------------------------------------------------- rankings

function fillRanking(list, items, alone = new Set()) {
  const top = Math.max(...items.map((item) => item.score), 0);
  list.replaceChildren(...items.map((item) => {
    const bar = make("div", "bar");
    bar.style.width = `${top > 0 ? Math.max(0, (100 * item.score) / top) : 0}%`;
    bar.setAttribute("aria-hidden", "true");
    const score = Number.isInteger(item.score) ? item.score.toLocaleString() : item.score.toFixed(3);
    const reasons = (item.explanation || []).filter((reason) => reason.contribution > 0).slice(0, 2);
    const why = reasons.length ? make("p", "why", `because of ${reasons.map(named).join(" and ")}`) : null;
    return make("li", alone.has(item.item_id) ? "alone" : "",
      make("span", "place", String(item.rank)), make("span", "title", named(item)),
      make("span", "score", score), why, bar);
  }));
  if (!items.length) list.append(make("li", "", make("span", "place", ""), make("span", "muted", "Nothing is left to suggest.")));
}

const STRATEGIES = { model: "from the training data", fold_in: "from this history", fallback: "the most popular" };

// ---------------------------------------------------------------- taste

const chosen = new Map(JSON.parse(sessionStorage.getItem("recae-taste") || "[]"));

function drawTaste() {
  sessionStorage.setItem("recae-taste", JSON.stringify([...chosen]));
  byId("chosen").replaceChildren(...[...chosen].map(([itemId, title]) => {
    const button = make("button", "", title);
    button.type = "button";
    button.setAttribute("aria-label", `Remove ${title}`);
    button.addEventListener("click", () => { chosen.delete(itemId); drawTaste(); byId("search").focus(); });
    return make("li", "", button);
  }));
  byId("chosen-none").hidden = chosen.size > 0;
  byId("diversity-value").textContent = byId("diversity").value;
  show("taste", async (isCurrent) => {
    const body = { items: [...chosen.keys()], diversity: Number(byId("diversity").value), explain: chosen.size ? 2 : 0 };
    const answer = await recommend(body);
    if (!isCurrent()) return;
    fillRanking(byId("taste-list"), answer.items);
    byId("taste-strategy").textContent = STRATEGIES[answer.strategy];
  });
}

// The search box: arrows move, Enter chooses, Escape closes; focus stays in the box, as ARIA's combobox has it.
const box = byId("search");
const found = byId("found");
let active = -1;

function closeFound() {
  found.hidden = true;
  box.setAttribute("aria-expanded", "false");
  box.removeAttribute("aria-activedescendant");
  active = -1;
}

function activate(place) {
  const options = [...found.querySelectorAll("[aria-selected]")];
  if (!options.length) return;
  active = (place + options.length) % options.length;
  options.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
  box.setAttribute("aria-activedescendant", options[active].id);
  options[active].scrollIntoView({ block: "nearest" });
}

function choose(item) {
  chosen.set(item.item_id, named(item));
  box.value = "";
  closeFound();
  drawTaste();
}

let typing = 0;
box.addEventListener("input", () => {
  clearTimeout(typing);
  const query = box.value.trim();
  if (!query) return closeFound();
  typing = setTimeout(() => show("search", async (isCurrent) => {
    const answer = await ask(`/v1/items?query=${part(query)}&n=12`);
    if (!isCurrent() || box.value.trim() !== query) return;
    const options = answer.items.filter((item) => !chosen.has(item.item_id)).map((item, at) => {
      const option = make("li", "", named(item));
      option.id = `found-${at}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.addEventListener("mousedown", (event) => { event.preventDefault(); choose(item); });
      option.chosen = item;
      return option;
    });
    const none = make("li", "none", "No title has these words.");
    none.setAttribute("role", "option");
    none.setAttribute("aria-disabled", "true");
    found.replaceChildren(...(options.length ? options : [none]));
    found.hidden = false;
    found.dataset.query = query;
    active = -1;
    box.setAttribute("aria-expanded", "true");
    box.removeAttribute("aria-activedescendant");
  }), 120);
});
box.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return closeFound();
  if (found.hidden) return;
  if (event.key === "ArrowDown") activate(active + 1);
  else if (event.key === "ArrowUp") activate(active < 0 ? -1 : active - 1);
  else if (event.key === "Enter") {
    const option = found.querySelectorAll("[aria-selected]")[Math.max(active, 0)];
    if (option) choose(option.chosen);
  } else return;
  event.preventDefault();
});
box.addEventListener("blur", closeFound);
byId("diversity").addEventListener("input", drawTaste);

// ---------------------------------------------------------------- a user

onSubmit("user", async (isCurrent) => {
  const userId = byId("user-id").value.trim();
  if (!userId) return;
  const answer = await ask(`/v1/users/${part(userId)}/recommendations?explain=50`);
  if (!isCurrent()) return;
  fillRanking(byId("user-list"), answer.items);
  byId("user-strategy").textContent = STRATEGIES[answer.strategy];
  fillHistory([]);
  byId("history-note").textContent = "";
  const log = await eventsOf(userId);
  if (!isCurrent()) return;
  // What the training data had of the user shows in the reasons given for the suggestions.
  const weights = new Map();
  for (const item of answer.items) {
    for (const reason of item.explanation || []) {
      const sum = weights.get(reason.item_id)?.sum || 0;
      weights.set(reason.item_id, { title: named(reason), sum: sum + Math.max(0, reason.contribution) });
    }
  }
  const logged = new Set(log.events.map((event) => event.item_id));
  const lines = log.events.map((event) => [named(event), `${deed(event)}, ${day(event.timestamp)}`]);
  const counting = [...weights].filter(([itemId]) => !logged.has(itemId)).sort(([, a], [, b]) => b.sum - a.sum).slice(0, 25);
  const origin = log.isWhole ? "training data" : "earlier, or training data";
  fillHistory([...lines, ...counting.map(([, reason]) => [reason.title, lines.length ? origin : ""])]);
  byId("history-note").textContent = log.isForbidden ? withoutLog(counting.length) : withLog(lines.length, counting.length, log.isWhole);
});

const N_EVENTS = 1000; // of a user, read at most; as many as a server gives in one answer by default

// A user's newest events; without them where the key's role does not reach so far.
async function eventsOf(userId) {
  const path = `/v1/users/${part(userId)}/events`;
  const events = [];
  let n = `n=${N_EVENTS}&`, cursor = "";
  try {
    do {
      const page = await ask(`${path}?${n}${cursor}`, undefined, { quiet: true }).catch((error) => {
        if (error.status !== 422 || !n) throw error;
        n = ""; // this server's limit is lower: take the pages as it cuts them
        return ask(`${path}?${cursor}`, undefined, { quiet: true });
      });
      events.push(...page.events);
      cursor = page.next_cursor && `cursor=${part(page.next_cursor)}`;
    } while (cursor && events.length < N_EVENTS);
  } catch (error) {
    if (error.status !== 403) throw error;
    return { events: [], isWhole: false, isForbidden: true };
  }
  return { events, isWhole: !cursor, isForbidden: false };
}

function withLog(nLogged, nCounting, isWhole) {
  const parts = [
    nLogged ? `${nLogged.toLocaleString()}${isWhole ? "" : " newest"} in the event log` : "",
    nCounting ? `${nLogged ? "then" : "from"} ${isWhole ? "" : "earlier events or "}the training data, what counts most first` : "",
  ].filter(Boolean).join("; ");
  return parts ? `${parts[0].toUpperCase()}${parts.slice(1)}.` : "Nobody by this id is known; the popular items are suggested.";
}

const withoutLog = (nCounting) => `A key with the role write shows the history.${nCounting ? " Here is what counts most for the suggestions." : ""}`;

const N_LINES = 20; // about as tall as ten suggestions
let history = [];

function fillHistory(lines, all = false) {
  history = lines;
  byId("history-list").replaceChildren(...lines.slice(0, all ? lines.length : N_LINES)
    .map(([title, when]) => make("li", "", make("span", "", title), make("span", "when", when))));
  const more = byId("history-more");
  more.hidden = lines.length <= N_LINES;
  more.setAttribute("aria-expanded", String(all));
  more.textContent = all ? `Show the first ${N_LINES}` : `Show all ${lines.length.toLocaleString()}`;
}
byId("history-more").addEventListener("click", (event) => fillHistory(history, event.target.getAttribute("aria-expanded") !== "true"));

// A value of 1 is the default and says nothing; any other does: a film rated 1.5 is not a film that was liked.
const deed = (event) => (event.value === 1 ? event.event_type : `${event.event_type} ${Number(event.value.toPrecision(6))}`);
const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

// ---------------------------------------------------------------- two models

onSubmit("compare", async (isCurrent) => {
  const userId = byId("compare-user").value.trim();
  const whom = userId ? { user_id: userId } : { items: [...chosen.keys()] };
  const sides = ["left", "right"];
  const answers = await Promise.all(sides.map((side) => recommend({ ...whom, explain: 2, model: byId(`compare-${side}`).value.trim() })));
  if (!isCurrent()) return;
  const ids = answers.map((answer) => new Set(answer.items.map((item) => item.item_id)));
  sides.forEach((side, at) => {
    byId(`${side}-name`).textContent = answers[at].model_version;
    fillRanking(byId(`${side}-list`), answers[at].items, new Set([...ids[at]].filter((id) => !ids[1 - at].has(id))));
  });
  const both = [...ids[0]].filter((id) => ids[1].has(id)).length;
  byId("compare-note").textContent = `${both} of ${Math.max(ids[0].size, ids[1].size)} items are suggested by both.`;
});

// Which versions there are is for admins; for others the boxes take any name.
async function offerVersions() {
  const answer = await ask("/v1/models", undefined, { quiet: true }).catch(() => null);
  if (!answer) return;
  const newestFirst = [...answer.versions].reverse();
  byId("versions").replaceChildren(...["current", ...newestFirst.map((version) => version.version)].map((name) => new Option(name)));
  const other = newestFirst.find((version) => !version.current);
  byId("compare-right").value ||= other ? other.version : "";
}

// ---------------------------------------------------------------- models

async function showModels(isCurrent) {
  const answer = await ask("/v1/models");
  if (!isCurrent()) return;
  const versions = [...answer.versions].reverse();
  byId("models-list").replaceChildren(...versions.map((version) => {
    const name = make("p", "name", version.version);
    const facts = [version.model, `${version.n_users.toLocaleString()} users`, `${version.n_items.toLocaleString()} items`,
      ...numbers(version.metrics).slice(0, 3).map(([metric, value]) => `${metric} ${value.toFixed(4)}`)];
    const card = make("li", "", make("div", "", name, make("p", "facts", facts.join(", "))));
    if (version.current) {
      name.append(make("span", "tag good", "in service"));
      card.id = "in-service";
      card.tabIndex = -1; // where the focus goes after a change
    } else {
      const button = make("button", "quiet", "Promote");
      button.type = "button";
      button.setAttribute("aria-label", `Promote ${version.version}`);
      button.addEventListener("click", () => change(`Serve ${version.version} from now on.`, `/v1/models/${part(version.version)}/promote`));
      card.append(button);
    }
    return card;
  }));
  const rollback = byId("rollback");
  rollback.disabled = !answer.previous;
  rollback.textContent = answer.previous ? `Roll back to ${answer.previous}` : "No earlier version to roll back to";
  rollback.dataset.version = answer.previous || "";
  await showEvaluation(isCurrent);
}

async function change(what, path) {
  const answer = await answerOf(byId("sure-dialog"), () => { byId("sure-what").textContent = what; });
  if (answer !== "yes") return;
  await show("models", async (isCurrent) => {
    const changed = await ask(path, {});
    await showModels(isCurrent);
    if (isCurrent()) (byId("in-service") || byId("models-title")).focus(); // the button that was pressed is gone
    followUntilServed(changed.model_version);
  });
}
byId("rollback").addEventListener("click", ({ target }) => change(`Serve ${target.dataset.version} again, which was in service before.`, "/v1/models/rollback"));

// The foot names what answers, and that changes only when the server has read the model: a deep one takes a while.
const READ_WITHIN_MS = 120_000, ASK_EVERY_MS = 500;
let awaited = null;
async function followUntilServed(version) {
  awaited = version;
  byId("arriving").textContent = `, soon ${version}`;
  const deadline = Date.now() + READ_WITHIN_MS;
  let served = null;
  while (awaited === version && served !== version && Date.now() < deadline) {
    served = (await ask("/health/ready", undefined, { quiet: true }).catch(() => null))?.model_version;
    if (served !== version) await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  if (awaited === version) byId("arriving").textContent = "";
}

async function showEvaluation(isCurrent) {
  const latestOne = await optional("/v1/evaluation/latest");
  if (!latestOne || !isCurrent()) return;
  const place = byId("evaluation");
  const json = fileLink("the numbers as JSON", "/v1/evaluation/latest", "evaluation.json");
  const report = latestOne.report ? [fileLink("the report with plots", latestOne.report, "evaluation.html"), ", "] : [];
  const head = make("p", "muted", `${latestOne.name}, ${String(latestOne.created || "").slice(0, 10)}: `, ...report, json);
  const models = latestOne.results.models || [];
  const rows = models.map((model) => [model.title || model.name, Object.fromEntries(numbers(model.test))]);
  const metrics = [...new Set(rows.flatMap(([, values]) => Object.keys(values)))].slice(0, 6);
  if (!rows.length) return place.replaceChildren(head, make("p", "facts", numbers(latestOne.results).map(([name, value]) => `${name} ${value.toFixed(4)}`).join(", ")));
  const cell = (tag, text, scope) => { const node = make(tag, "", text); if (scope) node.scope = scope; return node; };
  const sideways = make("div", "panel table", make("table", "",
    make("thead", "", make("tr", "", cell("th", "model", "col"), ...metrics.map((metric) => cell("th", metric, "col")))),
    make("tbody", "", ...rows.map(([name, values]) => make("tr", "", cell("th", name, "row"),
      ...metrics.map((metric) => cell("td", metric in values ? values[metric].toFixed(4) : "")))))));
  sideways.tabIndex = 0; // or the keyboard could not scroll it
  sideways.setAttribute("role", "region");
  sideways.setAttribute("aria-label", "Table of the evaluation");
  place.replaceChildren(head, sideways);
}

// A link to something that needs the key, which a plain link cannot carry: with a key it is saved as a file.
function fileLink(text, path, name) {
  const link = make("a", "", text);
  link.href = path;
  link.addEventListener("click", async (event) => {
    const key = sessionStorage.getItem("recae-key");
    if (!key) return;
    event.preventDefault();
    const answer = await fetch(path, { headers: { "X-API-Key": key } });
    if (!answer.ok) return;
    const file = make("a");
    file.href = URL.createObjectURL(await answer.blob());
    file.download = name;
    file.click();
  });
  return link;
}

// What may be missing: no evaluation yet, or a server without the endpoint.
const optional = (path) => ask(path).catch((error) => { if (error.status === 404) return null; throw error; });

// Every number in an object, with its path: {"test": {"ndcg@100": {"value": .3}}} is test ndcg@100.
function numbers(value, path = []) {
  if (typeof value === "number") return [[path.filter((name) => name !== "value").join(" "), value]];
  if (!value || typeof value !== "object" || Array.isArray(value)) return [];
  if (typeof value.value === "number") return numbers(value.value, path);
  return Object.entries(value).flatMap(([name, inner]) => numbers(inner, [...path, name]));
}

// ---------------------------------------------------------------- runs

const BAD = new Set(["refused", "failed", "interrupted"]);

// What each rule of the gate said, with the numbers that decided it: those against the candidate in sight, the others folded.
function verdictsOf(run) {
  if (!run.gate.length) return null;
  const rules = (verdicts) => make("ul", "verdicts", ...verdicts.map((verdict) => make("li", "",
    make("span", `tag ${verdict.passed ? "good" : "bad"}`, verdict.passed ? "passed" : verdict.forced ? "forced" : "refused"),
    make("span", "rule", verdict.rule.replaceAll("_", " ")), make("span", "muted", verdict.message))));
  const n = run.gate.length;
  const against = run.gate.filter((verdict) => !verdict.passed), passed = run.gate.filter((verdict) => verdict.passed);
  const gate = make("div", "gate");
  if (against.length) gate.append(make("p", "muted", `${against.length} of ${n} rules ${against.length === 1 ? "is" : "are"} against it`), rules(against));
  if (passed.length) gate.append(make("details", "", make("summary", "", against.length ? `${passed.length} of ${n} rules passed` : `All ${n} rules passed`), rules(passed)));
  return gate;
}

async function showRuns(isCurrent) {
  const answer = await optional("/v1/admin/runs");
  if (!isCurrent()) return;
  const runs = answer?.runs || [];
  byId("runs-none").hidden = runs.length > 0;
  byId("runs-list").replaceChildren(...runs.map((run) => {
    const verdict = run.status;
    const mood = verdict === "promoted" ? "good" : BAD.has(verdict) ? "bad" : "";
    const toldBelow = verdict === "refused" && run.gate.length > 0; // its message is that of the rules against it
    const facts = [run.started.replace("T", " ").slice(0, 16), toldBelow ? "" : run.message,
      ...numbers(run.metrics).slice(0, 4).map(([metric, value]) => `${metric} ${value.toFixed(4)}`)].filter(Boolean);
    return make("li", "", make("div", "", make("p", "name", run.run_id, make("span", `tag ${mood}`, verdict)), make("p", "facts", facts.join("; "))),
      verdictsOf(run));
  }));
  const inTime = [...runs].reverse();
  const metrics = [...new Set(inTime.flatMap((run) => numbers(run.metrics).map(([metric]) => metric)))].slice(0, 4);
  byId("runs-charts").replaceChildren(...metrics.map((metric) => plot(metric, inTime.map((run) => [run, new Map(numbers(run.metrics)).get(metric)]))));
}

const WIDTH = 480, HEIGHT = 150, LEFT = 64, BOTTOM = 24;
function plot(metric, points) {
  const known = points.filter(([, value]) => value !== undefined);
  const values = known.map(([, value]) => value);
  const low = Math.min(...values), high = Math.max(...values), span = high - low || Math.abs(high) || 1;
  const x = (at) => LEFT + (known.length > 1 ? (at * (WIDTH - LEFT - 10)) / (known.length - 1) : (WIDTH - LEFT) / 2);
  const y = (value) => 12 + ((high - value) / span) * (HEIGHT - BOTTOM - 24);
  const svg = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const picture = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const described = `${metric} over ${known.length} run(s), from ${values[0].toFixed(4)} to ${values.at(-1).toFixed(4)}`;
  picture.setAttribute("aria-label", described);
  for (const value of new Set([low, high])) {
    picture.append(svg("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }), svg("text", { x: 0, y: y(value) + 4 }, value.toFixed(4)));
  }
  picture.append(svg("path", { d: known.map(([, value], at) => `${at ? "L" : "M"}${x(at)} ${y(value)}`).join("") }));
  known.forEach(([run, value], at) => {
    const dot = svg("circle", { cx: x(at), cy: y(value), r: 4, class: BAD.has(run.status) ? "refused" : "" });
    dot.append(svg("title", {}, `${run.run_id}: ${value.toFixed(4)}`));
    picture.append(dot);
  });
  picture.append(svg("text", { x: LEFT, y: HEIGHT - 4 }, "oldest"), svg("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, "newest"));
  return make("figure", "panel", make("figcaption", "", metric), picture);
}

// ---------------------------------------------------------------- views

const VIEWS = { taste: drawTaste, user: () => {}, compare: offerVersions, models: () => show("models", showModels), runs: () => show("runs", showRuns) };

function go(moveFocus) {
  const wanted = location.hash.slice(1);
  const name = Object.hasOwn(VIEWS, wanted) ? wanted : "taste"; // "constructor" is in every object
  for (const view of document.querySelectorAll(".view")) view.hidden = view.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  tell(null);
  if (moveFocus) { byId(`${name}-title`).focus({ preventScroll: true }); scrollTo(0, 0); }
  VIEWS[name]();
}

byId("key-cancel").addEventListener("click", () => byId("key-dialog").close("cancel")); // Enter must mean "use it"
byId("key-button").addEventListener("click", () => askForKey(null).then((given) => given && go(false)));
// The part of the address behind # names the view: following the link would leave it.
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); byId("main").focus(); });
addEventListener("hashchange", () => go(true));
go(false);
