// The fields of a request: one for each input of a signature, with the ways to fill it that fit its dtype and shape.

/** Why a request cannot be sent as the fields are. */
class Unsendable extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

/** Numbers a form's controls, so that labels and descriptions can name them. */
let controls = 0;
const controlId = () => `control-${(controls += 1)}`;

/** A fieldset for one input. `text()` gives its value as JSON. */
class InputField {
  constructor(tensor, changed) {
    Object.assign(this, { tensor, changed });
    this.ways = new Map(waysToFill(tensor));
    const legend = element("legend", {}, nameElement(tensor.name), element("span", { className: "type" }, shownType(tensor)));
    this.body = element("div", { className: "rows" });
    this.element = element("fieldset", { className: "input" }, legend);
    if (!isOfRest(tensor.dtype)) {
      this.element.append(element("p", { className: "hint" }, `The REST interface takes no ${dtypeName(tensor.dtype)}: ask over gRPC.`));
    }
    if (tensor.isOptional) {
      this.isGiven = element("input", { type: "checkbox" });
      this.isGiven.addEventListener("change", () => this.show());
      this.element.append(element("label", {}, this.isGiven, " Send a value instead of the default"));
    }
    const names = [...this.ways.keys()];
    this.choice = element("fieldset", { className: "choice" }, element("legend", { className: "hidden" }, `How to give ${shown(tensor.name)}`));
    this.element.append(this.choice, this.body);
    choice(this.choice, controlId(), names.map((name) => [name, name]), (way) => this.choose(way));
    this.choice.hidden = names.length < 2;
    this.show();
  }

  choose(way) {
    this.made ??= new Map();
    if (!this.made.has(way)) this.made.set(way, this.ways.get(way)(this.changed));
    this.current = this.made.get(way);
    this.body.replaceChildren(this.current.element);
    this.changed();
  }

  show() {
    const isLeftOut = this.isLeftOut();
    this.body.hidden = isLeftOut;
    this.choice.hidden = isLeftOut || this.ways.size < 2;
    this.changed();
  }

  isLeftOut() {
    return this.isGiven !== undefined && !this.isGiven.checked;
  }

  text() {
    return this.current.text();
  }
}

/** The ways to fill an input, the best one first: names, and functions that make their fields. */
function waysToFill(tensor) {
  const ways = [];
  const count = countOf(closedDims(tensor.dims));
  const values = ["Values", (changed) => new ValuesField(tensor, changed)];
  if (tensor.dtype === "DT_STRING") {
    if (hasWords(tensor.dims)) ways.push(["Text", (changed) => new WordsField(tensor, changed)]);
    if (hasWords(tensor.dims)) ways.push(["File", (changed) => new FileField(tensor, changed)]);
    if (count <= WRITTEN_ELEMENTS) ways.push(values);
  } else {
    const shape = pictureShape(tensor);
    if (count <= WRITTEN_ELEMENTS) ways.push(values);
    if (shape) {
      const picture = ["Picture", (changed) => new PictureField(tensor, shape, changed)];
      if (shape.isLikely) ways.unshift(picture);
      else ways.push(picture);
    }
  }
  if (ways.length === 0 || count > WRITTEN_ELEMENTS) ways.push(["One value", (changed) => new FillField(tensor, changed)]);
  return ways;
}

/** Whether an input is one string, or a list of rows of one string. */
const hasWords = (dims) => dims !== null && (dims.length <= 1 || (dims.length === 2 && dims[1] === 1));

/** JSON that the reader writes. It is sent as it is written, so that no digit is lost. */
class ValuesField {
  constructor(tensor, changed) {
    const dims = closedDims(tensor.dims);
    const fill = (next) => {
      this.area.value = nestedJson(dims, next);
      this.check();
      changed();
    };
    const id = controlId();
    this.area = element("textarea", { spellcheck: false, "aria-label": `Values of ${shown(tensor.name)} as JSON`, "aria-describedby": id });
    this.problem = element("p", { className: "problem", id });
    this.area.addEventListener("input", () => (this.check(), changed()));
    const buttons = [["Zeros", () => elementJson(tensor.dtype)], ["Random", () => randomJson(tensor.dtype)]].map(([text, next]) => {
      const button = element("button", { type: "button", className: "small" }, text);
      button.addEventListener("click", () => fill(next));
      return button;
    });
    const line = element("div", { className: "line" }, ...buttons);
    line.hidden = tensor.dtype === "DT_STRING" || tensor.dims === null;
    this.element = element("div", { className: "rows" }, this.area, this.problem, line);
    const example = tensor.dtype === "DT_STRING" ? () => '"text"' : () => elementJson(tensor.dtype);
    fill(example);
    this.area.value = tensor.initial ?? this.area.value;
    this.area.rows = Math.min(this.area.value.split("\n").length, 12);
  }

  check() {
    let problem = "";
    try {
      parseJson(this.area.value);
    } catch (error) {
      problem = `Not JSON: ${shown(error.message)}`;
    }
    this.problem.textContent = problem;
    this.area.setAttribute("aria-invalid", String(problem !== ""));
    return problem;
  }

  text() {
    const problem = this.check();
    if (problem) throw new Unsendable(problem, this.area);
    return this.area.value.trim();
  }
}

/** Text boxes, one for each row. */
class WordsField {
  constructor(tensor, changed) {
    Object.assign(this, { tensor, changed });
    this.rows = element("div", { className: "rows" });
    this.element = element("div", { className: "rows" }, this.rows);
    this.add();
    if (tensor.dims.length > 0 && tensor.dims[0] === -1) {
      const more = element("button", { type: "button", className: "small" }, "Add a row");
      more.addEventListener("click", () => this.add().focus());
      this.element.append(element("div", { className: "line" }, more));
    }
    for (let row = 1; row < (tensor.dims[0] ?? 1); row += 1) this.add();
  }

  add() {
    const number = this.rows.children.length + 1;
    const area = element("textarea", { className: "words", rows: 1, "aria-label": `Text ${number} of ${shown(this.tensor.name)}` });
    area.addEventListener("input", this.changed);
    const row = element("div", { className: "line" }, area);
    if (number > 1 && this.tensor.dims[0] === -1) {
      const remove = element("button", { type: "button", "aria-label": `Remove text ${number}` }, "Remove");
      remove.addEventListener("click", () => {
        row.remove();
        this.rows.lastElementChild.querySelector("textarea").focus();
        this.changed();
      });
      row.append(remove);
    }
    this.rows.append(row);
    this.changed();
    return area;
  }

  text() {
    const words = [...this.rows.querySelectorAll("textarea")].map((area) => JSON.stringify(area.value));
    return wordsJson(this.tensor.dims, words);
  }
}

/** Strings as JSON, in the shape of the input. */
function wordsJson(dims, words) {
  if (dims.length === 0) return words[0];
  return `[${words.map((one) => (dims.length === 2 ? `[${one}]` : one)).join(", ")}]`;
}

/** Files whose bytes are the strings. */
class FileField {
  constructor(tensor, changed) {
    Object.assign(this, { tensor, words: null });
    const files = element("input", { type: "file", multiple: tensor.dims[0] === -1, "aria-label": `Files for ${shown(tensor.name)}` });
    files.addEventListener("change", async () => {
      this.words = await Promise.all([...files.files].map(async (file) => `{"b64": "${base64(await file.arrayBuffer())}"}`));
      changed();
    });
    this.files = files;
    this.element = element("div", {}, files, element("p", { className: "hint" }, "The bytes of the file are the value; each file is a row."));
  }

  text() {
    if (!this.words?.length) throw new Unsendable("Choose a file.", this.files);
    return wordsJson(this.tensor.dims, this.words);
  }
}

function base64(buffer) {
  const bytes = new Uint8Array(buffer);
  const parts = [];
  for (let at = 0; at < bytes.length; at += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
  return btoa(parts.join(""));
}

/** One value for every element of a large input. */
class FillField {
  constructor(tensor, changed) {
    Object.assign(this, { tensor, count: countOf(closedDims(tensor.dims)) });
    const dims = closedDims(tensor.dims);
    this.dims = dims;
    this.area = element("textarea", { rows: 1, spellcheck: false, value: elementJson(tensor.dtype) });
    this.area.addEventListener("input", changed);
    const label = `Value of each of the ${this.count.toLocaleString("en")} elements, as JSON`;
    this.element = element("label", { className: "field" }, label, this.area);
  }

  text() {
    const value = this.area.value.trim();
    try {
      parseJson(value);
    } catch (error) {
      throw new Unsendable(`Not JSON: ${shown(error.message)}`, this.area);
    }
    if (this.count > MOST_ELEMENTS) {
      throw new Unsendable(`An input of ${this.count.toLocaleString("en")} elements is too large for this page.`, this.area);
    }
    return nestedJson(this.dims, () => value);
  }
}
