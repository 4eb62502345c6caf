#!/usr/bin/env bash
# A Python process can import kserve or tritonclient's gRPC client, and not both, in either order. Both bring the messages of the
# Open Inference Protocol as generated code that registers `inference.…`, and protobuf's pool takes a name once. A program that
# compares two servers, or moves from one client to the other, needs a process for each.
#
# Observed with kserve 0.21.0, tritonclient 2.73.0, protobuf as pip resolves it, CPython 3.11, Linux x86-64:
#   kserve alone, tritonclient.grpc alone: imported
#   one after the other: TypeError: Couldn't build proto file into descriptor pool: duplicate symbol 'inference.…'
#
# Exit code 0: reproduced. Needs python3.11 to python3.13, the network, and 400 MB in the folder for temporary files.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'tritonclient[grpc]==2.73.0' kserve==0.21.0
for module in kserve tritonclient.grpc; do
    "$work/venv/bin/python" -c "import $module"
    echo "$module alone: imported"
done
for both in "kserve, tritonclient.grpc" "tritonclient.grpc, kserve"; do
    if "$work/venv/bin/python" -c "import $both" 2>"$work/error"; then
        echo "import $both: this has changed"
        exit 1
    fi
    grep -o "duplicate symbol '[^']*'" "$work/error" | tail -n 1
done
