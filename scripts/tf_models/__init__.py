"""The small real models of models/, and the tools that record and check what they answer.

- `registry`: the `@model` decorator and what a maker hands back
- `keras_models`, `trainable`, `modules`, `element_types`, `v1_graphs`, `v1_lore`: the makers, by family
- `assets`: text files to be taken in as assets
- `describe`: what a SavedModel says of itself
- `entries`: recorded arrays to and from io.npz and meta.json
- `runners`: a SavedModel in a v1 session, and as Python loads it eagerly
- `compare`: recorded against fresh answers
- `record`: runs a fresh model and writes io.npz, meta.json and held_out.npz
"""

import logging
import os

logging.getLogger("tensorflow").setLevel(logging.ERROR)
# Read by TensorFlow when it is first imported, so this stands before every import of it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
