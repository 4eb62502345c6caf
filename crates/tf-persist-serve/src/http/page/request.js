// The request form: a model's signatures, their fields, and sending.

/** The metadata that the form shows: of which model and version, and its signatures. */
let described = { model: null, choice: null, version: null, signatures: [], problem: "" };
/** The fields of the chosen signature: something with `text()`, the body of the request. */
let form = null;
let waiting = null;

const choiceText = () => (chosen.version === null ? "" : `${chosen.version.kind}:${chosen.version.name}`);
const signature = () => described.signatures.find((one) => one.name === chosen.signature) ?? described.signatures[0] ?? null;

/** The method of a signature in the REST interface. */
function methodOf(one) {
  const method = one.method.replace(/^tensorflow\/serving\//, "");
  return method === "classify" || method === "regress" ? method : "predict";
}

/** Reads the metadata again if another model, version or choice answers now. */
async function describe(model) {
  const version = answeringVersion(model);
  const choice = choiceText();
  if (described.model === model.name && described.version === version && described.choice === choice) return;
  const isSame = described.model === model.name;
  described = { model: model.name, choice, version, signatures: isSame ? described.signatures : [], problem: "" };
  const mine = described;
  if (version === null) {
    mine.problem = "No version is available: there is nothing to send a request to.";
    mine.signatures = [];
  } else {
    // The fields of another model are of no use meanwhile.
    if (!isSame) showForm();
    byId("request-note").textContent = "Reading the signatures …";
    try {
      const metadata = await getJson(`${modelPath(model.name, chosen.version)}/metadata`);
      if (described !== mine) return;
      mine.signatures = readSignatures(metadata);
      if (mine.signatures.length === 0) mine.problem = "The model has no signature that can be run.";
    } catch (error) {
      if (described !== mine) return;
      mine.signatures = [];
      mine.problem = shownLines(error.message);
      // The next poll tries again.
      mine.version = undefined;
      if (error instanceof KeyNeeded) askForKey(error.message);
    }
  }
  showForm();
}

/** Shows the fields of the signature. Fields of a signature that did not change stay as the reader filled them. */
function showForm() {
  const names = described.signatures.map((one) => one.name);
  const select = byId("signature");
  update(select, names, () => names.map((name) => element("option", { value: name }, shown(name, 80))));
  const one = signature();
  if (one) select.value = one.name;
  const canRun = one && (one.inputs.length > 0 || methodOf(one) !== "predict");
  const none = one && !canRun ? "This signature has no inputs: the REST interface cannot run it, and gRPC can." : "";
  byId("request-note").textContent = described.problem || none;
  byId("send").disabled = !canRun;
  byId("signature").disabled = !one;
  update(byId("inputs"), one && [described.model, one], () => {
    form = canRun ? makeForm(one) : null;
    clearAnswer();
    return form ? form.elements : [];
  });
  commandChanged();
}

/** The fields of a signature, and the JSON of what they hold. */
function makeForm(one) {
  const changed = commandChanged;
  if (methodOf(one) !== "predict") {
    const field = new JsonField("Examples: objects with the features of each row", "examples", '[\n  {"feature": 1.0}\n]', changed);
    return { elements: [field.element], text: () => `"examples": ${field.text()}` };
  }
  if (one.inputs.length > MOST_FIELDS) {
    const written = one.inputs.map((tensor) => {
      const dims = closedDims(tensor.dims);
      return `${JSON.stringify(tensor.name)}: ${countOf(dims) <= 64 ? nestedJson(dims, () => elementJson(tensor.dtype)) : "[]"}`;
    });
    const field = new JsonField(`All ${one.inputs.length} inputs by name`, "inputs", `{\n ${written.join(",\n ")}\n}`, changed);
    return { elements: [field.element], text: () => `"inputs": ${field.text()}` };
  }
  const fields = one.inputs.map((tensor) => new InputField(tensor, changed));
  const text = () => {
    const given = fields.filter((field) => !field.isLeftOut());
    return `"inputs": {${given.map((field) => `${JSON.stringify(field.tensor.name)}: ${field.text()}`).join(", ")}}`;
  };
  return { elements: fields.map((field) => field.element), text, fields };
}

/** JSON for a part of the request. */
class JsonField {
  constructor(label, name, text, changed) {
    const field = new ValuesField({ name, dtype: "DT_STRING", dims: null }, changed);
    field.area.value = text;
    field.area.rows = Math.min(Math.max(text.split("\n").length, 3), 20);
    field.area.setAttribute("aria-label", label);
    this.field = field;
    this.element = element("div", { className: "rows" }, element("p", { className: "hint" }, label), field.element);
  }

  text() {
    return this.field.text();
  }
}

/** The body of the request. Invisible characters, which JSON has only in strings, become escapes. */
function requestBody() {
  const one = signature();
  const name = one.name === "serving_default" ? "" : `"signature_name": ${JSON.stringify(one.name)}, `;
  return `{${name}${form.text()}}`.replace(INVISIBLE, (character) => ("\n\t\r".includes(character) ? character : asEscape(character)));
}

const requestPath = () => `${modelPath(described.model, chosen.version)}:${methodOf(signature())}`;

async function sendRequest() {
  if (waiting || !form || !signature()) return;
  let body;
  try {
    body = requestBody();
  } catch (error) {
    if (!(error instanceof Unsendable)) throw error;
    showFailure("The request was not sent", error.message);
    error.field.focus();
    return;
  }
  const one = signature();
  waiting = new AbortController();
  showWaiting(true);
  const started = performance.now();
  try {
    const reply = await send(requestPath(), { body, signal: waiting.signal });
    showReply(reply, performance.now() - started, one);
  } catch (error) {
    if (error instanceof KeyNeeded) askForKey(error.message);
    const text = error.name === "AbortError" ? "The page no longer waits; the server may still run the request." : error.message;
    showFailure("There is no answer", text);
  } finally {
    waiting = null;
    showWaiting(false);
  }
}

function showWaiting(isWaiting) {
  byId("stop").hidden = !isWaiting;
  byId("send").setAttribute("aria-disabled", String(isWaiting));
  if (isWaiting) byId("answer-summary").textContent = "Waiting for the answer …";
}
