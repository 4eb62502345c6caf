#!/usr/bin/env bash
# `PutObject` with `If-Match: ETAG` on S3 is no compare-and-swap of versions: an ETag is the MD5 of the bytes. After an object has
# changed from A to B and back to A, a writer that read the first A still passes, although two writes came between. So a pointer that
# goes 1, 2, 1 (a label that is rolled back, say) needs a counter in the object to notice that.
#
# Observed with moto 5.2.5 as the server, which computes ETags as S3 documents them, and boto3 1.44.8, CPython 3.11:
#   put "1": ETag "c4ca4238…"; put "2": "c81e728d…"; put "1": "c4ca4238…" again
#   put "3" if the ETag is "c81e728d…": PreconditionFailed; if it is the "c4ca4238…" of the first write: 200
#   with a counter, {"label": 1, "changes": 1}, the same stale write gets PreconditionFailed
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 50 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'moto[server,s3]==5.2.5' boto3==1.44.8
"$work/venv/bin/python" - <<'PY'
import sys

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(port=0)
server.start()
host, port = server.get_host_and_port()
secret = {"aws_access_key_id": "name", "aws_secret_access_key": "word", "region_name": "us-east-1"}
s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **secret)
s3.create_bucket(Bucket="models")
print("boto3", boto3.__version__)


def put(key: str, body: str, **condition) -> str:
    return s3.put_object(Bucket="models", Key=key, Body=body.encode(), **condition)["ETag"]


def refused(key: str, body: str, etag: str) -> bool:
    try:
        put(key, body, IfMatch=etag)
        return False
    except ClientError as error:
        return error.response["Error"]["Code"] == "PreconditionFailed"


first, second, third = (put("label", body) for body in "121")
print("ETags of 1, 2, 1:", first, second, third)
found = [first == third, refused("label", "3", second), refused("label", "3", first)]
print("a write on the second state is refused:", found[1], "; a write on the first state is refused:", found[2])
texts = [f'{{"label": {label}, "changes": {changes}}}' for changes, label in enumerate("121", 1)]
counted, _, _ = (put("counted", text) for text in texts)
found.append(refused("counted", '{"label": 3, "changes": 2}', counted))
print("with a counter, a write on the first state is refused:", found[3])
server.stop()
sys.exit(0 if found == [True, True, False, True] else 1)
PY
