#!/usr/bin/env bash
# Clients of the Open Inference Protocol put a model's name into the path of a URL in different ways. tritonclient percent-encodes
# all but slashes; kserve's client encodes nothing. A model `team/model` is asked for at `/v2/models/team/model/infer` by both, which
# is not the protocol's `/v2/models/NAME/infer`. With kserve, a `?` in a name ends the path: the server is asked for another model, and
# the action is lost in the query.
#
# Observed with tritonclient 2.73.0 and kserve 0.21.0, CPython 3.11, Linux x86-64; the paths that a server receives:
#   team/model    tritonclient  /v2/models/team/model/infer         kserve  /v2/models/team/model/infer
#   is it?        tritonclient  /v2/models/is%20it%3F/infer         kserve  /v2/models/is%20it?/infer
#
# Exit code 0: reproduced. Needs python3.11 to python3.13, the network, and 400 MB in the folder for temporary files.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'tritonclient[http]==2.73.0' kserve==0.21.0
cat >"$work/ask.py" <<'PYTHON'
"""Asks a server for a model by one client, and prints the path that the server receives."""

import asyncio
import http.server
import sys
import threading

paths = []


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        paths.append(self.path)
        self.send_response(404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
client, name = sys.argv[1:]
address = f"127.0.0.1:{server.server_port}"
try:
    if client == "tritonclient":
        import numpy as np
        import tritonclient.http as triton

        x = triton.InferInput("x", [1], "FP32")
        x.set_data_from_numpy(np.zeros(1, np.float32))
        triton.InferenceServerClient(address).infer(name, [x])
    else:
        from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

        request = InferRequest(model_name=name, infer_inputs=[InferInput("x", [1], "FP32", [0.0])])
        kserve = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        asyncio.run(kserve.infer(f"http://{address}", request, model_name=name))
except Exception:  # the 404
    pass
print(paths[0])
PYTHON
expect() {
    local found
    found=$("$work/venv/bin/python" "$work/ask.py" "$1" "$2" 2>/dev/null)
    echo "$1, model \`$2\`: $found"
    [ "$found" = "$3" ] || { echo "this has changed: it was $3"; exit 1; }
}
expect tritonclient team/model /v2/models/team/model/infer
expect kserve team/model /v2/models/team/model/infer
expect tritonclient 'is it?' /v2/models/is%20it%3F/infer
expect kserve 'is it?' '/v2/models/is%20it?/infer'
