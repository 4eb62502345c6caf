// Signatures: what the metadata say of inputs, values of the right shape and dtype, and which inputs are pictures.

/** Inputs of more elements are filled with one value instead of being written out. */
const WRITTEN_ELEMENTS = 4096;
/** Inputs of more elements cannot be filled. */
const MOST_ELEMENTS = 8_000_000;
/** A signature with more inputs has one field for all of them. */
const MOST_FIELDS = 40;

/** By dtype: an element as JSON, numpy's name, and that of the Open Inference Protocol. */
const DTYPES = {
  DT_FLOAT: ["0.0", "float32", "FP32"],
  DT_DOUBLE: ["0.0", "float64", "FP64"],
  DT_HALF: ["0.0", "float16", "FP16"],
  DT_BFLOAT16: ["0.0", "bfloat16", "BF16"],
  DT_INT8: ["0", "int8", "INT8"],
  DT_INT16: ["0", "int16", "INT16"],
  DT_INT32: ["0", "int32", "INT32"],
  DT_INT64: ["0", "int64", "INT64"],
  DT_UINT8: ["0", "uint8", "UINT8"],
  DT_UINT16: ["0", "uint16", "UINT16"],
  DT_UINT32: ["0", "uint32", "UINT32"],
  DT_UINT64: ["0", "uint64", "UINT64"],
  DT_BOOL: ["false", "bool", "BOOL"],
  DT_STRING: ['""', "string", "BYTES"],
  DT_COMPLEX64: ['{"real": 0.0, "imag": 0.0}', "complex64", null],
  DT_COMPLEX128: ['{"real": 0.0, "imag": 0.0}', "complex128", null],
};
const elementJson = (dtype) => DTYPES[dtype]?.[0] ?? "0.0";
const dtypeName = (dtype) => DTYPES[dtype]?.[1] ?? String(dtype).replace(/^DT_/, "").toLowerCase();
const protocolDtype = (dtype) => DTYPES[dtype]?.[2] ?? null;
/** Whether JSON of the REST interface can hold values of a dtype. */
const isOfRest = (dtype) => dtype !== "DT_BFLOAT16" && !dtype.startsWith("DT_COMPLEX") && dtype in DTYPES;
const isFloat = (dtype) => ["DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"].includes(dtype);
const isInteger = (dtype) => /^DT_U?INT(8|16|32|64)$/.test(dtype);

/** The signatures of a model that can be run, by name: `{name, method, inputs, outputs}` with sorted tensors. */
function readSignatures(metadata) {
  const found = metadata?.metadata?.signature_def?.signature_def ?? {};
  const signatures = Object.entries(found)
    .filter(([name, one]) => name !== "__saved_model_init_op" && Object.keys(one.outputs ?? {}).length > 0)
    .map(([name, one]) => ({
      name,
      method: one.method_name ?? "",
      inputs: readTensors(one.inputs, Object.keys(one.defaults ?? {})),
      outputs: readTensors(one.outputs, []),
    }));
  const isDefault = (one) => Number(one.name !== "serving_default");
  return signatures.sort((a, b) => isDefault(a) - isDefault(b) || (a.name < b.name ? -1 : 1));
}

/** The tensors of a signature. Sparse and composite ones have a tensor for each of their parts, as requests do. */
function readTensors(tensors, defaults) {
  const read = [];
  for (const [name, info] of Object.entries(tensors ?? {})) {
    const tensor = (part, dtype, dims, initial) =>
      read.push({ name: part, dtype, dims, initial, isOptional: defaults.includes(name) });
    const dims = readDims(info.tensor_shape);
    if (info.coo_sparse) {
      tensor(`${name}.indices`, "DT_INT64", [-1, dims?.length ?? -1]);
      tensor(`${name}.values`, info.dtype, [-1]);
      tensor(`${name}.dense_shape`, "DT_INT64", [dims?.length ?? -1], JSON.stringify(closedDims(dims)));
    } else if (info.composite_tensor) {
      const parts = info.composite_tensor.components ?? [];
      parts.forEach((part, index) => tensor(`${name}.${index}`, part.dtype, readDims(part.tensor_shape)));
    } else {
      tensor(name, info.dtype, dims);
    }
  }
  return read.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The sizes of a shape, -1 for open ones; null if not even their number is known. */
function readDims(shape) {
  if (!shape || shape.unknown_rank) return null;
  return (shape.dim ?? []).map((one) => Number(one.size));
}

/** A shape for people: `float32, N × 8 × 8 × 1`. */
function shownType({ dtype, dims }) {
  if (dims === null) return `${dtypeName(dtype)}, any shape`;
  if (dims.length === 0) return `${dtypeName(dtype)}, one value`;
  const sizes = dims.map((size, index) => (size >= 0 ? size : index === 0 ? "N" : "any"));
  return `${dtypeName(dtype)}, ${dims.length === 1 ? `list of ${sizes[0]}` : sizes.join(" × ")}`;
}

/** A shape with a size for every open one: one row, and two of whatever else is open. */
const closedDims = (dims) => (dims ?? []).map((size, index) => (size >= 0 ? size : index === 0 ? 1 : 2));
const countOf = (dims) => dims.reduce((product, size) => product * size, 1);

/** Nested lists of a shape as JSON. `next` gives the text of each element, in row-major order. */
function nestedJson(dims, next, indent = "") {
  if (dims.length === 0) return next();
  const [size, ...rest] = dims;
  const parts = Array.from({ length: size }, () => nestedJson(rest, next, `${indent} `));
  const line = parts.join(", ");
  const isRow = rest.length === 0 || (rest.length === 1 && rest[0] <= 4);
  const isShort = isRow || (line.length < 60 && !line.includes("\n"));
  return isShort ? `[${line}]` : `[${parts.join(`,\n${indent} `)}]`;
}

/** Random values that an input of this dtype takes: from 0 to 1, or 0 to 9. */
function randomJson(dtype) {
  if (dtype === "DT_BOOL") return String(Math.random() < 0.5);
  if (isInteger(dtype)) return String(Math.floor(10 * Math.random()));
  const part = () => Math.random().toFixed(3);
  return dtype.startsWith("DT_COMPLEX") ? `{"real": ${part()}, "imag": ${part()}}` : part();
}

/**
 * How the values of an input are pixels: `{height, width, channels, channelsFirst, hasBatch, isOpen, isLikely}`; null if
 * they cannot be. `isOpen` says that the signature leaves the size to the request.
 */
function pictureShape({ name, dtype, dims }) {
  if (!dims || !(isFloat(dtype) || isInteger(dtype))) return null;
  const isChannels = (size) => size === 1 || size === 3 || size === 4;
  const isSide = (size) => size === -1 || (size >= 4 && size <= 2048);
  const isBatch = dims[0] === -1 || dims[0] === 1;
  const sounds = /image|img|pixel|photo|picture|digit/i.test(name);
  const picture = (height, width, channels, isLikely, { channelsFirst = false, hasBatch = true } = {}) => ({
    height: height === -1 ? 224 : height,
    width: width === -1 ? 224 : width,
    channels,
    channelsFirst,
    hasBatch,
    isOpen: height === -1 || width === -1,
    isLikely,
  });
  if (dims.length === 4 && isBatch) {
    const [, a, b, c] = dims;
    if (isSide(a) && isSide(b) && isChannels(c)) return picture(a, b, c, true);
    if (isChannels(a) && isSide(b) && isSide(c)) return picture(b, c, a, true, { channelsFirst: true });
  }
  if (dims.length === 3) {
    const [a, b, c] = dims;
    if (isBatch && isSide(b) && isSide(c) && (b === c || sounds)) return picture(b, c, 1, b !== -1 || sounds);
    if (a > 1 && isSide(a) && isSide(b) && isChannels(c)) return picture(a, b, c, true, { hasBatch: false });
  }
  if (dims.length === 2 && isBatch) {
    const side = Math.sqrt(dims[1]);
    if (Number.isInteger(side) && side >= 8 && side <= 256) return picture(side, side, 1, sounds || side === 28);
  }
  return null;
}
