// The list of models, and the versions of the chosen one.

/** What the server said last of all models, by name. */
let models = new Map();
/** The chosen model, version (`{kind, name}`, or null for the newest) and signature. */
const chosen = { model: null, version: null, signature: null };
/** The links of the list, by model. */
const links = new Map();

/** Classes of states. An unloaded version is loaded again by the next request for it. */
const STATES = { START: "wait", LOADING: "wait", AVAILABLE: "good", UNLOADING: "wait", UNLOADED: "", END: "" };
const byNumber = (a, b) => (BigInt(b.version) > BigInt(a.version) ? 1 : -1);
const answers = (version) => version.state === "AVAILABLE" || version.state === "UNLOADED";
const availableVersions = (model) => model.versions.filter(answers).sort(byNumber);

/** The number of the version that answers the chosen one; null if none does. */
function answeringVersion(model) {
  const available = availableVersions(model).map((one) => one.version);
  if (chosen.version === null) return available[0] ?? null;
  const number = chosen.version.kind === "label" ? model.labels[chosen.version.name] : chosen.version.name;
  return available.includes(number) ? number : null;
}

/** The state of a model in a word or two, and its class. */
function modelState(model) {
  const states = model.versions.map((one) => one.state);
  if (model.problem || model.versions.some((one) => one.error)) {
    return states.includes("AVAILABLE") ? ["available, with a problem", "wait"] : ["problem", "bad"];
  }
  if (Object.keys(model.pending_labels ?? {}).length > 0) return ["label pending", "wait"];
  if (states.includes("AVAILABLE")) return ["available", "good"];
  if (states.includes("UNLOADED")) return ["unloaded until asked", ""];
  return states.some((one) => one === "LOADING" || one === "START") ? ["loading", "wait"] : ["no version", ""];
}

const stateElement = (text, kind) => element("span", { className: `state ${kind}` }, text);

/** Shows the list. Links stay the same elements, so that they keep the focus. */
function showModels() {
  const list = byId("models");
  for (const [name, link] of links) {
    if (models.has(name)) continue;
    link.item.remove();
    links.delete(name);
  }
  let before = null;
  for (const [name, model] of models) {
    let link = links.get(name);
    if (!link) {
      const state = element("div");
      const anchor = element("a", { href: `#${new URLSearchParams({ model: name })}` }, nameElement(name), state);
      link = { item: element("li", {}, anchor), anchor, state, said: "" };
      links.set(name, link);
    }
    const [text, kind] = modelState(model);
    if (link.said !== text + kind) link.state.replaceChildren(stateElement(text, kind));
    link.said = text + kind;
    if (name === chosen.model) link.anchor.setAttribute("aria-current", "page");
    else link.anchor.removeAttribute("aria-current");
    const place = before ? before.nextSibling : list.firstChild;
    if (place !== link.item) list.insertBefore(link.item, place);
    before = link.item;
  }
  byId("filter-line").hidden = models.size < 9;
  filterModels();
}

function filterModels() {
  const wanted = byId("filter-line").hidden ? "" : byId("filter").value.toLowerCase();
  let count = 0;
  for (const [name, link] of links) {
    link.item.hidden = !name.toLowerCase().includes(wanted);
    count += Number(!link.item.hidden);
  }
  const none = models.size === 0 ? "The server has no models." : "No model has such a name.";
  byId("models-note").textContent = count === 0 ? none : wanted ? `${count} of ${models.size}` : "";
}

/** Replaces the children of an element if what they say has changed. */
const saidBefore = new WeakMap();
function update(parent, said, children) {
  const text = JSON.stringify(said);
  if (saidBefore.get(parent) === text) return;
  saidBefore.set(parent, text);
  parent.replaceChildren(...children());
}

/** Shows the versions, labels and problems of a model. */
function showVersions(model) {
  update(byId("model-name"), model.name, () => [nameElement(model.name, 400)]);
  update(byId("model-problems"), [model.problem], () =>
    model.problem ? [element("p", { className: "notice", role: "status" }, shownLines(model.problem))] : []);
  const labels = Object.entries(model.labels);
  const pending = Object.entries(model.pending_labels ?? {});
  update(document.querySelector("#versions tbody"), [model.versions, labels, pending], () => {
    const known = new Set(model.versions.map((one) => one.version));
    const awaited = [...new Set(pending.map(([, version]) => version).filter((version) => !known.has(version)))];
    const versions = [...model.versions, ...awaited.map((version) => ({ version, state: "not here yet" }))].sort(byNumber);
    if (versions.length > 0) return versions.map((one) => versionRow(one, labels, pending));
    return [element("tr", {}, element("td", { colSpan: 4, className: "note" }, "No version has been found yet."))];
  });
}

const rowHead = (text) => element("th", { scope: "row", className: "mono" }, text);

function versionRow(version, labels, pending) {
  const mine = (list) => list.filter(([, number]) => number === version.version).map(([label]) => label);
  const tags = [...mine(labels).map((one) => labelElement(one, false)), ...mine(pending).map((one) => labelElement(one, true))];
  const details = [];
  if (version.error) {
    const text = `${version.error.code}: ${version.error.message}`;
    details.push(element("div", { className: "problem" }, shownLines(text, 2000)));
  }
  const together = Object.values(version.batching ?? {}).filter((one) => one.together).length;
  if (together > 0) details.push(element("div", { className: "note" }, "Overlapping requests share runs."));
  const { optimization } = version;
  if (optimization?.speedup) {
    details.push(element("div", { className: "note" }, `Optimized: ${shownNumber(Number(optimization.speedup.toFixed(2)))} times as fast.`));
  }
  const kind = version.error ? "bad" : STATES[version.state] ?? "";
  return element(
    "tr",
    {},
    rowHead(version.version),
    element("td", {}, stateElement(version.state.toLowerCase(), kind)),
    element("td", {}, ...tags),
    element("td", {}, ...details),
  );
}

function labelElement(label, isPending) {
  const made = element("span", { className: isPending ? "label pending" : "label" }, nameElement(label, 60));
  if (isPending) made.append(" pending");
  return made;
}

/** Fills the choice of versions: the newest, each available one, and each label. */
function showVersionChoice(model) {
  const available = availableVersions(model).map((one) => one.version);
  const labels = Object.entries(model.labels).filter(([, number]) => available.includes(number));
  const options = [["", available.length > 0 ? `the newest (${available[0]})` : "the newest"]];
  for (const number of available) options.push([`version:${number}`, number]);
  for (const [label, number] of labels) options.push([`label:${label}`, `${shown(label, 60)} (${number})`]);
  const value = chosen.version === null ? "" : `${chosen.version.kind}:${chosen.version.name}`;
  // A version that is gone stays in the list, so that the choice does not change by itself.
  if (!options.some(([one]) => one === value)) options.push([value, `${shown(chosen.version.name, 60)} (not available)`]);
  const select = byId("version");
  update(select, options, () => options.map(([one, text]) => element("option", { value: one }, text)));
  if (select.value !== value) select.value = value;
}
