#!/usr/bin/env bash
# MLflow's searches of versions leave their aliases out: whoever looks for the version "in production" with `search_model_versions`, or
# in `latest_versions` of a registered model, finds none. `get_model_version` has them, and so has the map of the registered model.
#
# Observed with mlflow-skinny 3.17.2 over SQLite, CPython 3.11:
#   get_model_version:     ['production']      get_registered_model: {'production': '1'}
#   search_model_versions: []                  latest_versions:      []
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 60 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1
"$work/venv/bin/python" - 2>"$work/log" <<'PY' || { tail -n 5 "$work/log" >&2; exit 1; }
import sys

import mlflow
from mlflow import MlflowClient

print("mlflow", mlflow.__version__)
client = MlflowClient("sqlite:///registry.db", "sqlite:///registry.db")
client.create_registered_model("digits")
client.create_model_version("digits", source="s3://models/digits/1")
client.set_registered_model_alias("digits", "production", "1")
(searched,) = client.search_model_versions("name='digits'")
model = client.get_registered_model("digits")
(latest,) = model.latest_versions
got = client.get_model_version("digits", "1")
print("get_model_version:", got.aliases, "; get_registered_model:", model.aliases)
print("search_model_versions:", searched.aliases, "; latest_versions:", latest.aliases)
found = (list(got.aliases), {alias: str(version) for alias, version in model.aliases.items()}, list(searched.aliases), list(latest.aliases))
sys.exit(0 if found == (["production"], {"production": "1"}, [], []) else 1)
PY
