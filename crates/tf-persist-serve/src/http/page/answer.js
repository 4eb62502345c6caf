// Answers: tables, and bars where an output has a number for each of several classes.

/** Rows of one output that are shown, and values of one that is not a table. */
const SHOWN_ROWS = 20;
const SHOWN_VALUES = 200;
/** Classes that are shown in their order; of more, the largest ones are. */
const ORDERED_CLASSES = 12;
const LARGEST_CLASSES = 10;
/** The most classes that are looked through. */
const MOST_CLASSES = 200_000;
const SHOWN_JSON = 20_000;

function clearAnswer() {
  byId("answer-summary").textContent = "None yet.";
  byId("answer").replaceChildren();
}

function showFailure(summary, text) {
  byId("answer-summary").textContent = `${summary}.`;
  byId("answer").replaceChildren(element("p", { className: "failure", tabIndex: 0, role: "region", "aria-label": "The error" }, shownLines(text)));
}

function showReply(reply, took, one) {
  const time = `${took < 100 ? took.toFixed(1) : Math.round(took)} ms`;
  if (!reply.isOk) {
    showFailure(`${reply.code} ${reply.reason}, after ${time}`, errorText(reply.text));
    return;
  }
  byId("answer-summary").textContent = `${reply.code} ${reply.reason}, after ${time}, from version ${described.version}.`;
  const parts = [];
  try {
    parts.push(...answerElements(parseJson(reply.text), one));
  } catch (error) {
    parts.push(element("p", { className: "failure" }, `The answer cannot be shown: ${shown(error.message)}`));
  }
  byId("answer").replaceChildren(...parts, rawAnswer(reply.text));
}

function rawAnswer(text) {
  const save = element("button", { type: "button" }, "Save answer.json");
  save.addEventListener("click", () => saveFile("answer.json", text));
  const pre = element("pre", { id: "answer-json", tabIndex: 0, role: "region", "aria-label": "The answer as JSON" }, shownLines(text, SHOWN_JSON));
  return element("details", {}, element("summary", {}, "The answer as JSON"), pre, element("p", { className: "line" }, save));
}

/** The outputs of an answer: `{name, value, dims}`. */
function readOutputs(answer, one) {
  if (methodOf(one) !== "predict") {
    const results = answer.results ?? [];
    if (methodOf(one) === "regress") return [{ name: "value", value: results }];
    const part = (index) => results.map((row) => row.map((pair) => pair[index]));
    return [{ name: "scores", value: part(1) }, { name: "classes", value: part(0) }];
  }
  const { outputs } = answer;
  if (one.outputs.length === 1) return [{ name: one.outputs[0].name, value: outputs }];
  return Object.entries(outputs ?? {}).map(([name, value]) => ({ name, value }));
}

/** The sizes of nested lists. */
function dimsOf(value) {
  const dims = [];
  for (let part = value; Array.isArray(part); part = part[0]) dims.push(part.length);
  return dims;
}

const isNumber = (value) => typeof value === "number" || typeof value === "bigint";

function answerElements(answer, one) {
  const outputs = readOutputs(answer, one).map((output) => ({ ...output, dims: dimsOf(output.value) }));
  const isColumn = ({ dims }) => dims.length <= 1 || (dims.length === 2 && dims[1] === 1);
  const isClasses = ({ dims, value }) =>
    dims.length === 2 && dims[1] > 1 && dims[1] <= MOST_CLASSES && dims[0] > 0 && isNumber(value[0][0]);
  const columns = outputs.filter(isColumn);
  const classes = outputs.filter((output) => !isColumn(output) && isClasses(output));
  const isName = ({ dims, value }) => dims.length === 2 && dims[1] > 1 && typeof value[0]?.[0] === "string";
  const parts = [];
  if (columns.length > 0) parts.push(columnsElement(columns));
  for (const output of classes) {
    const names = outputs.find((other) => isName(other) && String(other.dims) === String(output.dims));
    parts.push(classesElement(output, names?.value));
  }
  const rest = outputs.filter((output) => !isColumn(output) && !classes.includes(output));
  for (const output of rest) parts.push(valuesElement(output));
  if (outputs.length === 0) parts.push(element("p", { className: "note" }, "The answer has no outputs."));
  return parts;
}

const outputTitle = (name, note) => element("h3", {}, nameElement(name), note ? element("span", { className: "note" }, `  ${note}`) : "");

/** Outputs with one value a row, as the columns of one table. */
function columnsElement(columns) {
  const rows = Math.max(...columns.map(({ dims }) => dims[0] ?? 1));
  const cellOf = ({ value, dims }, row) => {
    if (dims.length === 0) return row === 0 ? shownValue(value) : "";
    const found = value[row];
    return found === undefined ? "" : shownValue(Array.isArray(found) ? found[0] : found);
  };
  const isNumeric = ({ value, dims }) => isNumber(dims.length === 2 ? value[0]?.[0] : dims.length === 1 ? value[0] : value);
  const kind = (column) => (isNumeric(column) ? "number" : "");
  const head = columns.map((column) => element("th", { scope: "col", className: kind(column) }, nameElement(column.name, 60)));
  const body = Array.from({ length: Math.min(rows, SHOWN_ROWS) }, (_, row) =>
    element("tr", {}, element("th", { scope: "row" }, String(row)),
      ...columns.map((column) => element("td", { className: kind(column) }, element("bdi", {}, cellOf(column, row))))));
  const table = element("table", {},
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Row"), ...head)),
    element("tbody", {}, ...body));
  const cut = rows > SHOWN_ROWS ? [element("p", { className: "note" }, `The first ${SHOWN_ROWS} of ${rows} rows.`)] : [];
  return element("div", { className: "output scroll", tabIndex: 0, role: "region", "aria-label": "Values" }, table, ...cut);
}

/** An output with a number for each class: bars. */
function classesElement({ name, value, dims }, names) {
  const rows = value.slice(0, SHOWN_ROWS).map((row, index) => barsElement(row.map(Number), names?.[index], dims[0] > 1 ? index : null));
  const note = dims[0] > SHOWN_ROWS ? `the first ${SHOWN_ROWS} of ${dims[0]} rows` : "";
  return element("div", { className: "output" }, outputTitle(name, note), ...rows);
}

function barsElement(numbers, names, row) {
  const finite = numbers.filter(Number.isFinite);
  const total = finite.reduce((sum, one) => sum + one, 0);
  const areProbabilities = finite.length === numbers.length && finite.every((one) => one >= 0 && one <= 1) && Math.abs(total - 1) < 0.01;
  const largest = finite.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
  const full = areProbabilities ? 1 : largest || 1;
  const order = numbers.map((_, index) => index);
  const rank = (index) => (Number.isNaN(numbers[index]) ? -Infinity : numbers[index]);
  const best = order.reduce((most, index) => (rank(index) > rank(most) ? index : most), 0);
  if (numbers.length > ORDERED_CLASSES) order.sort((a, b) => rank(b) - rank(a)).splice(LARGEST_CLASSES);
  const shownAs = (value) => (areProbabilities ? value.toFixed(4) : shownNumber(value));
  const lines = order.map((index) => {
    const fill = element("div", { className: "fill" });
    const share = Math.min(Math.abs(numbers[index]) / full, 1);
    fill.style.width = `${Number.isNaN(share) ? 0 : 100 * share}%`;
    const title = names ? nameElement(names[index], 80) : String(index);
    return element("tr", { className: index === best ? "best" : "" },
      element("th", { scope: "row" }, title),
      element("td", { className: "bar" }, element("div", { className: "track" }, fill)),
      element("td", { className: "number" }, shownAs(numbers[index])));
  });
  const what = areProbabilities ? "probability" : "value";
  const count = numbers.length > ORDERED_CLASSES ? `, the ${LARGEST_CLASSES} largest of ${numbers.length}` : "";
  const caption = element("caption", { className: "hidden" }, `${row === null ? "" : `Row ${row}: `}${what} of each class${count}`);
  const head = ["Class", what, "Value"].map((text) => element("th", { scope: "col" }, text));
  const table = element("table", { className: "bars" }, caption,
    element("thead", { className: "hidden" }, element("tr", {}, ...head)), element("tbody", {}, ...lines));
  const title = [row === null ? "" : `Row ${row}`, count.slice(2)].filter(Boolean).join(", ");
  return element("div", {}, ...(title ? [element("p", { className: "note" }, title)] : []), table);
}

/** Any other output: its shape, and the first values. */
function valuesElement({ name, value, dims }) {
  const flat = [];
  const walk = (part) => {
    if (flat.length >= SHOWN_VALUES) return;
    if (Array.isArray(part)) part.forEach(walk);
    else flat.push(part);
  };
  walk(value);
  const count = countOf(dims);
  const more = count > flat.length ? ` … (${(count - flat.length).toLocaleString("en")} more)` : "";
  const text = flat.map(shownValue).join(", ") + more;
  const box = element("pre", { tabIndex: 0, role: "region", "aria-label": `Values of ${shown(name)}` }, text);
  return element("div", { className: "output" }, outputTitle(name, dims.join(" × ")), box);
}
