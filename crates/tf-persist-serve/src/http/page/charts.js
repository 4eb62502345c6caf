// Charts of a model's requests, errors and latency since the page was opened.

const POLL_MS = 2000;
/** Five minutes, and the first minute, which has the whole width until it is over. */
const KEPT_SAMPLES = 150;
const LEAST_SAMPLES = 30;
/** By model, the samples: `{time, seconds, requests, errors, p50, p99}`, with null where there was no request. */
const history = new Map();
/** The counters of the last poll, by model. */
let counters = new Map();
let countedAt = 0;

const requestsOf = (one) => Object.values(one?.requests ?? {}).reduce((sum, count) => sum + count, 0);
const errorsOf = (one) => requestsOf(one) - (one?.requests.OK ?? 0);

/** Adds a sample for every model: the differences of its counters. */
function addSamples(metrics, now) {
  const seconds = (now - countedAt) / 1000;
  const latest = new Map(metrics.models.map((one) => [one.name, one]));
  for (const [name, one] of latest) {
    const before = counters.get(name);
    // A counter that went down belongs to a server that was started again.
    if (!before || requestsOf(one) < requestsOf(before) || seconds <= 0) continue;
    const counts = one.latency.map((count, index) => count - (before.latency[index] ?? 0));
    const quantile = (share) => quantileOf(counts, metrics.latency_limits_ms, share);
    const samples = history.get(name) ?? [];
    samples.push({
      requests: (requestsOf(one) - requestsOf(before)) / seconds,
      errors: (errorsOf(one) - errorsOf(before)) / seconds,
      p50: quantile(0.5),
      p99: quantile(0.99),
    });
    if (samples.length > KEPT_SAMPLES) samples.shift();
    history.set(name, samples);
  }
  for (const name of history.keys()) if (!latest.has(name)) history.delete(name);
  counters = latest;
  countedAt = now;
}

/** A quantile of a histogram, within a bucket as if its values were spread evenly; null for an empty one. */
function quantileOf(counts, limits, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let below = 0;
  for (const [index, count] of counts.entries()) {
    if (below + count >= share * total && count > 0) {
      const [low, high] = [limits[index - 1] ?? 0, limits[index] ?? limits.at(-1)];
      return low + ((high - low) * (share * total - below)) / count;
    }
    below += count;
  }
  return limits.at(-1);
}

const shownRate = (rate) => `${rate === 0 ? 0 : rate < 10 ? Number(rate.toFixed(1)) : Math.round(rate)}/s`;
const shownMs = (ms) => `${ms < 10 ? Number(ms.toPrecision(2)) : Math.round(ms).toLocaleString("en")} ms`;

/** Shows the charts of a model. */
function showCharts(name) {
  const samples = history.get(name) ?? [];
  const charts = [
    chart("Requests", "requests", samples, ["requests"], shownRate),
    chart("Latency", "latency", samples, ["p50", "p99"], shownMs, ", median and (dashed) 99th percentile"),
    chart("Errors", "errors", samples, ["errors"], shownRate),
  ];
  byId("charts").replaceChildren(...charts);
  const one = counters.get(name);
  const codes = Object.entries(one?.requests ?? {}).map(([code, count]) => `${count.toLocaleString("en")} ${code}`);
  const since = codes.length > 0 ? `Since the start of the server: ${codes.join(", ")}. ` : "";
  byId("totals").textContent = `${since}The charts show the last ${(KEPT_SAMPLES * POLL_MS) / 60_000} minutes of this page. Requests for status and metadata count as requests.`;
}

/** A chart of some of the values of the samples, the newest at the right. */
function chart(title, kind, samples, keys, shownAs, meaning = "") {
  const all = samples.flatMap((sample) => keys.map((key) => sample[key])).filter((value) => value !== null);
  const most = Math.max(...all, 0);
  const now = keys.map((key) => samples.at(-1)?.[key] ?? null).filter((value) => value !== null);
  const nowText = now.length > 0 ? now.map(shownAs).join(" · ") : samples.length === 0 ? "…" : "no requests";
  const mostText = all.length > 0 ? `at most ${shownAs(most)}${meaning}` : "nothing yet";
  const width = Math.max(samples.length, LEAST_SAMPLES);
  const picture = svg("svg", { viewBox: `0 0 ${width - 1} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: now ${nowText}, ${mostText}` });
  for (const [index, key] of keys.entries()) {
    const path = linePath(samples.map((sample) => sample[key]), most, width);
    picture.append(svg("path", { d: path, class: index === 0 ? "first" : "second" }));
  }
  return element("div", { className: `chart ${kind}` },
    element("h3", {}, title), element("p", { className: "now" }, nowText), picture, element("p", { className: "note" }, mostText));
}

/** The line through the values, with gaps where there are none. */
function linePath(values, most, width) {
  const first = width - values.length;
  let path = "";
  let isOpen = false;
  for (const [index, value] of values.entries()) {
    if (value === null) {
      isOpen = false;
      continue;
    }
    const [x, y] = [first + index, most > 0 ? 97 - (94 * value) / most : 97];
    // A lone value is a short line.
    path += isOpen ? `L${x} ${y.toFixed(1)}` : `M${x - 0.6} ${y.toFixed(1)}L${x} ${y.toFixed(1)}`;
    isOpen = true;
  }
  return path;
}

function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
