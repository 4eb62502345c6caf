"""Prints the variables that Python finds in a TensorFlow 1 SavedModel, as JSON.

    python -m checks.check_variables DIR

`global` and `trainable` are the variables that a v1 session finds in the collections, `eager` those that
`tf.saved_model.load` lists. In the session, the variables are initialised anew and then restored, by Python's own saver and
by the model's; exit code 1 if one does not have its value again, or if initialising changed none.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def check(folder: Path) -> dict[str, list[str]]:
    """The names of the variables; raises `ValueError` if a value is lost."""
    with tf.Graph().as_default(), v1.Session() as session, tempfile.TemporaryDirectory() as work:
        meta_graph = v1.saved_model.load(session, ["serve"], str(folder))
        variables = v1.global_variables()
        present = session.run(variables)
        saver, prefix = v1.train.Saver(), str(Path(work) / "present")
        saver.save(session, prefix, write_meta_graph=False)
        for way in ("python's saver", "the model's saver"):
            session.run(v1.global_variables_initializer())
            if all(map(np.array_equal, present, session.run(variables))):
                raise ValueError("initialising changed nothing, and so nothing is restored")
            if way == "python's saver":
                saver.restore(session, prefix)
            else:
                own = meta_graph.saver_def
                session.run(own.restore_op_name, {own.filename_tensor_name: str(folder / "variables" / "variables")})
            for variable, before, after in zip(variables, present, session.run(variables), strict=True):
                if not np.array_equal(before, after):
                    raise ValueError(f"{way} does not restore `{variable.name}`")
        found = {"global": variables, "trainable": v1.trainable_variables()}
        names = {kind: [variable.op.name for variable in all_of_it] for kind, all_of_it in found.items()}
    eager = tf.saved_model.load(str(folder)).variables
    return {**names, "eager": [variable.name.split(":")[0] for variable in eager]}


if __name__ == "__main__":
    print(json.dumps(check(Path(sys.argv[1]))))
