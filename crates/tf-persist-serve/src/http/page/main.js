// Puts the parts together: polling, the address of the page, and what the reader does.

/** The model, version and signature of the page's address: `#model=m&version=2&signature=s`. */
function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (!parts.has("model")) return;
  chosen.model = parts.get("model");
  chosen.signature = parts.get("signature");
  const kind = ["version", "label"].find((one) => parts.has(one));
  chosen.version = kind ? { kind, name: parts.get(kind) } : null;
}

function writeAddress() {
  const parts = new URLSearchParams({ model: chosen.model });
  if (chosen.version) parts.set(chosen.version.kind, chosen.version.name);
  if (chosen.signature) parts.set("signature", chosen.signature);
  window.history.replaceState(null, "", `#${parts}`);
}

/** Shows the chosen model; the first one if there is no such model. */
function showModel() {
  if (!models.has(chosen.model)) {
    const isGone = chosen.model !== null && models.size > 0;
    if (!isGone && models.size > 0) chosen.model = models.keys().next().value;
  }
  const model = models.get(chosen.model);
  showModels();
  byId("model-parts").hidden = !model;
  byId("no-model").hidden = Boolean(model);
  if (!model) {
    byId("no-model").textContent = models.size === 0 ? "The server has no models." : `The server has no model ${shown(chosen.model)}.`;
    return;
  }
  document.title = `${shown(model.name, 60)} · tf-persist`;
  showVersions(model);
  showVersionChoice(model);
  showCharts(model.name);
  describe(model);
}

function showStatus(metrics) {
  const state = metrics.ready ? ["ready", "good"] : ["not ready", "wait"];
  const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
  const running = `${count(metrics.requests_under_way, "request")} under way`;
  // Only the readiness is announced; the rest changes all the time.
  update(byId("readiness"), state, () => [stateElement(...state)]);
  byId("load").textContent = `· ${running} · ${count(metrics.connections, "connection")} · tf-persist ${metrics.version}`;
}

/** Shows a problem of the server, or none. */
function showProblem(text) {
  const banner = byId("server-problem");
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = text === "";
}

function askForKey(problem) {
  const wasHidden = byId("key").hidden;
  byId("key").hidden = false;
  byId("columns").hidden = true;
  byId("key-problem").textContent = apiKey() === null ? "" : shownLines(problem);
  if (wasHidden) byId("key-text").focus();
}

async function poll() {
  try {
    const [list, metrics] = await Promise.all([getJson("models"), getJson("models/metrics")]);
    byId("key").hidden = true;
    byId("columns").hidden = false;
    byId("forget-key").hidden = apiKey() === null;
    models = new Map(list.models.map((model) => [model.name, model]));
    addSamples(metrics, performance.now());
    showStatus(metrics);
    showProblem(list.problem ? shownLines(list.problem) : "");
    showModel();
  } catch (error) {
    if (error instanceof KeyNeeded) askForKey(error.message);
    else if (error instanceof Refused) showProblem(`The server refuses: ${shownLines(error.message)}`);
    else if (error instanceof TypeError) showProblem("The server does not answer. The page tries again every two seconds.");
    else showProblem(`The page cannot show what the server answers: ${shownLines(error.message)}`);
  }
}

async function pollForever() {
  for (;;) {
    // Without a key, every request would be refused.
    if (!document.hidden && byId("key").hidden) await poll();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Copies the command; where the browser forbids that, selects it. */
async function copyCommand() {
  const text = byId("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
    byId("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(byId("command"));
    byId("copied").textContent = "Selected: copy it with Ctrl+C.";
  }
}

function listen() {
  window.addEventListener("hashchange", () => {
    readAddress();
    showModel();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) poll();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("model").focus();
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setApiKey(byId("key-text").value.trim());
    byId("key-text").value = "";
    poll();
  });
  byId("forget-key").addEventListener("click", () => {
    setApiKey(null);
    poll();
  });
  byId("filter").addEventListener("input", filterModels);
  byId("version").addEventListener("change", () => {
    const [, kind, name] = /^(version|label):(.*)$/s.exec(byId("version").value) ?? [];
    chosen.version = kind ? { kind, name } : null;
    writeAddress();
    describe(models.get(chosen.model));
  });
  byId("signature").addEventListener("change", () => {
    chosen.signature = byId("signature").value;
    writeAddress();
    showForm();
  });
  byId("request").addEventListener("submit", (event) => {
    event.preventDefault();
    sendRequest();
  });
  byId("request").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) sendRequest();
  });
  byId("stop").addEventListener("click", () => waiting?.abort());
  byId("copy").addEventListener("click", copyCommand);
  byId("save-request").addEventListener("click", () => saveFile(FILE, requestBody()));
}

listen();
choice(byId("tools"), "tool", TOOLS, (value) => {
  tool = value;
  commandChanged();
});
readAddress();
pollForever();
