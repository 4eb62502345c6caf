// The server: requests with the API key, if there is one.

const KEY_ITEM = "tf-persist API key";
/** The key, for browsers that refuse the storage of a session. */
let heldKey = null;

function apiKey() {
  try {
    return sessionStorage.getItem(KEY_ITEM) ?? heldKey;
  } catch {
    return heldKey;
  }
}

function setApiKey(key) {
  heldKey = key;
  try {
    if (key === null) sessionStorage.removeItem(KEY_ITEM);
    else sessionStorage.setItem(KEY_ITEM, key);
  } catch {
    // The key is kept until the page is left.
  }
}

/** The server answers 401. */
class KeyNeeded extends Error {}
/** The server answers with another error; the message is the server's. */
class Refused extends Error {}

/** The address of a path of this server, which a proxy may have put below another path. */
const address = (path) => new URL(path, new URL(".", location.href)).href;

/** The path of a model, and of a version of it: a number, a label, or the newest one for null. */
function modelPath(model, version) {
  const path = `v1/models/${encodeURIComponent(model)}`;
  if (version === null) return path;
  return `${path}/${version.kind}s/${encodeURIComponent(version.name)}`;
}

async function send(path, { body, signal } = {}) {
  const key = apiKey();
  const headers = key === null ? {} : { "X-Api-Key": key };
  const options = { method: body === undefined ? "GET" : "POST", headers, body, signal, cache: "no-store", redirect: "error" };
  const reply = await fetch(address(path), options);
  const text = await reply.text();
  if (reply.status === 401) throw new KeyNeeded(errorText(text));
  return { code: reply.status, reason: reply.statusText, isOk: reply.ok, text };
}

async function getJson(path, signal) {
  const reply = await send(path, { signal });
  if (!reply.isOk) throw new Refused(errorText(reply.text) || `${reply.code} ${reply.reason}`);
  return parseJson(reply.text);
}

/** The message of an error's body. */
function errorText(body) {
  try {
    const { error } = JSON.parse(body);
    return typeof error === "string" ? error : body;
  } catch {
    return body;
  }
}
