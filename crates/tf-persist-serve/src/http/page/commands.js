// The same request as a command line: curl, `tf-persist run`, and Python with tritonclient.

/** Longer requests are read from a file. */
const LONGEST_COMMAND = 3000;
const FILE = "request.json";
const TOOLS = [["curl", "curl"], ["run", "tf-persist run"], ["python", "Python (tritonclient)"]];
let tool = "curl";
let commandTimer = null;

/** A word of a POSIX shell. */
const shellWord = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A literal of Python. JSON's escapes are Python's. */
const pythonText = (text) => JSON.stringify(text).replace(INVISIBLE, asEscape);

function commandChanged() {
  clearTimeout(commandTimer);
  commandTimer = setTimeout(showCommand, 150);
}

function showCommand() {
  let text = "";
  let note = "";
  let body = "";
  const one = signature();
  if (one && form) {
    try {
      body = requestBody();
      ({ text, note } = commandFor(body, one));
    } catch (error) {
      if (!(error instanceof Unsendable)) throw error;
      note = `There is no command yet: ${error.message}`;
    }
  }
  byId("command").textContent = text;
  byId("command").hidden = text === "";
  byId("command-note").textContent = note;
  byId("copy").hidden = text === "";
  byId("save-request").hidden = !text.includes(FILE);
  byId("copied").textContent = "";
}

function commandFor(body, one) {
  const isLong = body.length > LONGEST_COMMAND;
  const file = isLong ? `The request has ${body.length.toLocaleString("en")} characters: save it as ${FILE} first. ` : "";
  const key = apiKey() === null ? "" : "Put the API key into the variable KEY. ";
  if (tool === "run") {
    const option = methodOf(one) === "predict" ? "--inputs" : `--signature ${shellWord(one.name)} --examples`;
    const text = methodOf(one) === "predict" ? body : JSON.stringify(JSON.parse(body).examples);
    const command = `tf-persist run MODEL ${option}`;
    const note = `${file}MODEL is the folder of the version, or MODEL@LABEL of a store. TensorFlow runs in the command itself.`;
    return { text: isLong ? `${command} ${FILE}` : `${command} - <<'END'\n${text}\nEND`, note };
  }
  if (tool === "curl") {
    const header = apiKey() === null ? "" : ` -H "X-Api-Key: $KEY"`;
    const data = isLong ? `@${FILE}` : shellWord(body);
    return { text: `curl${header} ${shellWord(address(requestPath()))} \\\n  -d ${data}`, note: file + key };
  }
  const unable = unableInProtocol(one);
  if (unable) return { text: "", note: unable };
  return { text: pythonProgram(one, isLong), note: `${file}${key}The Open Inference Protocol: pip install 'tritonclient[http]'` };
}

/** Why the Open Inference Protocol cannot carry the request; empty if it can. */
function unableInProtocol(one) {
  if (methodOf(one) !== "predict") return "The Open Inference Protocol has no examples.";
  if (!form.fields) return `The signature has more than ${MOST_FIELDS} inputs.`;
  const odd = one.inputs.find((tensor) => protocolDtype(tensor.dtype) === null);
  return odd ? `The Open Inference Protocol has no ${dtypeName(odd.dtype)}, the dtype of ${shown(odd.name)}.` : "";
}

/** The numpy dtype of an input, in Python. */
function numpyDtype(dtype) {
  if (dtype === "DT_STRING") return "object";
  if (dtype === "DT_BOOL") return "np.bool_";
  return dtype === "DT_BFLOAT16" ? "ml_dtypes.bfloat16" : `np.${dtypeName(dtype)}`;
}

/** JSON values as Python. Numbers keep their digits. */
function pythonValues(json, dtype) {
  if (dtype !== "DT_STRING") {
    const words = { true: "True", false: "False", null: "np.nan", NaN: "np.nan", Infinity: "np.inf" };
    return json.replace(/\b(true|false|null|NaN|Infinity)\b/g, (word) => words[word]);
  }
  const written = (value) => {
    if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
    if (typeof value === "string") return pythonText(value);
    return typeof value?.b64 === "string" ? `base64.b64decode(${pythonText(value.b64)})` : "None";
  };
  return written(JSON.parse(json));
}

function pythonProgram(one, isLong) {
  const { host, protocol } = new URL(address(""));
  const fields = form.fields.filter((field) => !field.isLeftOut());
  const tensors = fields.map((field) => field.tensor);
  const arrays = fields.map((field) => {
    const { tensor } = field;
    const values = isLong ? `values[${pythonText(tensor.name)}]` : pythonValues(field.text(), tensor.dtype);
    return `    (${pythonText(tensor.name)}, "${protocolDtype(tensor.dtype)}", np.array(${values}, ${numpyDtype(tensor.dtype)})),`;
  });
  const hasBytes = tensors.some((tensor) => tensor.dtype === "DT_STRING") && (isLong || arrays.join().includes("base64."));
  const imports = [
    hasBytes && "import base64",
    isLong && "import json",
    apiKey() !== null && "import os",
    tensors.some((tensor) => tensor.dtype === "DT_BFLOAT16") && "import ml_dtypes",
    "import numpy as np",
    "import tritonclient.http as triton",
  ];
  const hook = hasBytes ? ', object_hook=lambda found: base64.b64decode(found["b64"]) if "b64" in found else found' : "";
  const options = [`${pythonText(described.model)}, inputs`];
  if (chosen.version !== null) options.push(`model_version="${described.version}"`);
  if (one.name !== "serving_default") options.push(`parameters={"signature_name": ${pythonText(one.name)}}`);
  if (apiKey() !== null) options.push('headers={"X-Api-Key": os.environ["KEY"]}');
  return [
    ...imports.filter(Boolean),
    "",
    `client = triton.InferenceServerClient("${host}"${protocol === "https:" ? ", ssl=True" : ""})`,
    ...(isLong ? [`values = json.load(open("${FILE}")${hook})["inputs"]`] : []),
    "inputs = []",
    "for name, datatype, array in [",
    ...arrays,
    "]:",
    "    tensor = triton.InferInput(name, array.shape, datatype)",
    "    tensor.set_data_from_numpy(array)",
    "    inputs.append(tensor)",
    `answer = client.infer(${options.join(", ")})`,
    'for output in answer.get_response()["outputs"]:',
    '    print(output["name"], answer.as_numpy(output["name"]))',
  ].join("\n");
}
