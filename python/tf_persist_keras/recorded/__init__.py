"""Requests and answers recorded beside a SavedModel, in `io.npz` and `meta.json`.

- `cases`: one recorded request, and how close a fresh answer must come
- `entries`: recorded arrays to and from io.npz and meta.json
- `describe`: meta graphs, signatures and variables of a SavedModel
- `runners`: a SavedModel in a v1 session, and as Python loads it eagerly
- `compare`: recorded against fresh answers
- `record`: runs a fresh model and writes io.npz, meta.json and held_out.npz
"""

import logging

logging.getLogger("tensorflow").setLevel(logging.ERROR)
