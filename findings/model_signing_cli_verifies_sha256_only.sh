#!/usr/bin/env bash
# model-signing's library signs with any of the hashes of its format, `sha256`, `blake2b` and `blake3`, and its command verifies
# `sha256` only: `model_signing verify key` hashes the files with SHA-256 whatever the signature says, and reports every file of an
# unchanged model as different. The library itself verifies such a signature if it is told to guess the hash.
#
# Observed with model-signing 1.1.1, CPython 3.11, Linux x86-64, the same model and key:
#   signed with sha256: the command verifies it
#   signed with blake3: the library verifies it, the command ends with 1
#
# Exit code 0: reproduced. Needs openssl, python3.11 to python3.13 and the network.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check model-signing==1.1.1 pyOpenSSL
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$work/key.pem"
openssl pkey -in "$work/key.pem" -pubout -out "$work/key.pub"
mkdir "$work/model"
echo weights >"$work/model/weights.bin"
"$work/venv/bin/python" - "$work" <<'PY'
import pathlib
import sys

import model_signing

work = pathlib.Path(sys.argv[1])
for algorithm in ("sha256", "blake3"):
    hashing = model_signing.hashing.Config().use_file_serialization(hashing_algorithm=algorithm)
    signing = model_signing.signing.Config().use_elliptic_key_signer(private_key=work / "key.pem").set_hashing_config(hashing)
    signing.sign(work / "model", work / f"{algorithm}.sig")
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=work / "key.pub").verify(work / "model", work / f"{algorithm}.sig")
    print(f"{algorithm}: signed and verified by the library")
PY
verify() { "$work/venv/bin/model_signing" verify key --public_key "$work/key.pub" --signature "$work/$1.sig" "$work/model" >"$work/said" 2>&1; }
verify sha256
echo "sha256: verified by the command"
if verify blake3; then
    echo "blake3: verified by the command, too: this has changed"
    exit 1
fi
echo "blake3: refused by the command: $(tail -n 1 "$work/said")"
