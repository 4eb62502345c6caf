// Text: elements, names of models as they are shown, JSON as TensorFlow Serving writes it.

const byId = (id) => document.getElementById(id);

/**
 * Makes an element. Strings among the children become text nodes: nothing that comes from a server is parsed as HTML.
 */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Characters that are not seen, or that change the order of those beside them. */
const INVISIBLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const asEscape = (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0");

/** A name or a message that anyone may have chosen: invisible characters as escapes, and at most `limit` characters. */
function shown(text, limit = 200) {
  const whole = String(text);
  const visible = whole.slice(0, limit).replace(INVISIBLE, asEscape);
  return whole.length > limit ? `${visible}… (${whole.length.toLocaleString("en")} characters)` : visible;
}

/** The same for text of several lines. */
function shownLines(text, limit = 4000) {
  const whole = String(text);
  const visible = whole.slice(0, limit).replace(INVISIBLE, (one) => ("\n\t".includes(one) ? one : asEscape(one)));
  return whole.length > limit ? `${visible}\n… (${whole.length.toLocaleString("en")} characters)` : visible;
}

/** An element with a name, whose direction does not change that of the text around it. */
const nameElement = (text, limit) => element("bdi", {}, shown(text, limit));

/** Parses JSON that may have `NaN`, `Infinity` and integers beyond 2^53, which become BigInts. */
function parseJson(text) {
  const exact = (_, value, context) => {
    const source = context?.source;
    const isRounded = typeof value === "number" && source !== undefined && !Number.isSafeInteger(value);
    return isRounded && /^-?\d+$/.test(source) ? BigInt(source) : value;
  };
  const read = (json, reviver) => (/\d{16}/.test(json) ? JSON.parse(json, reviver ?? exact) : JSON.parse(json, reviver));
  try {
    return read(text);
  } catch (problem) {
    const mark = "\u0000number:";
    let found = false;
    const replaced = text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (token) => {
      if (token.startsWith('"')) return token;
      found = true;
      return JSON.stringify(mark + token);
    });
    if (!found) throw problem;
    return read(replaced, (key, value, context) =>
      typeof value === "string" && value.startsWith(mark) ? Number(value.slice(mark.length)) : exact(key, value, context));
  }
}

/** A number of an answer, short enough for a table. */
function shownNumber(value) {
  if (typeof value !== "number" || Number.isInteger(value) || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(3);
  return String(Number(value.toPrecision(5)));
}

/** Any value of an answer as one line. */
function shownValue(value) {
  if (typeof value === "number" || typeof value === "bigint") return shownNumber(value);
  if (typeof value === "string") return shown(value, 500);
  return shown(JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part)), 500);
}

/** Saves text as a file of the reader. */
function saveFile(name, text) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: "application/json" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Radio buttons in a fieldset. Returns the fieldset; `chosen` is called with each choice, and at once with the first. */
function choice(fieldset, name, options, chosen) {
  for (const [index, [value, label]] of options.entries()) {
    const radio = element("input", { type: "radio", name, value, checked: index === 0 });
    radio.addEventListener("change", () => chosen(value));
    fieldset.append(element("label", {}, radio, label));
  }
  chosen(options[0][0]);
  return fieldset;
}
