#!/usr/bin/env bash
# `pip install model-signing` installs a command that cannot start: its certificate code imports OpenSSL, and the package does
# not depend on pyOpenSSL. Signing and verifying with a plain key fails as well. With pyOpenSSL installed beside it, it works.
#
# Observed with model-signing 1.1.1, CPython 3.11, Linux x86-64:
#   alone:          ModuleNotFoundError: No module named 'OpenSSL'
#   with pyOpenSSL: model_signing --help works
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check model-signing==1.1.1
if "$work/venv/bin/model_signing" --help >"$work/alone" 2>&1; then
    echo "it starts alone: this has changed"
    exit 1
fi
tail -n 1 "$work/alone"
grep -q "No module named 'OpenSSL'" "$work/alone"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyOpenSSL
"$work/venv/bin/model_signing" --help >/dev/null
echo "with pyOpenSSL it starts"
