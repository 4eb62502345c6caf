"""From a compiled Keras 3 model to a SavedModel that can be trained on.

- `cli`: the command line
- `errors`: the exception for problems that the user can solve
- `source`: checks of a source before Keras is imported
- `load`: a `.keras` or `.h5` file, or `module:function`, to a model
- `compiled`: how a file's model was compiled, and its optimizer's state
- `interface`: the names, dtypes and shapes of inputs, outputs and targets
- `steps`: the functions behind the signatures
- `state`: every variable of the model, once
- `write`: the SavedModel, whole or not at all
"""

import os

# Read by Keras and TensorFlow when they are first imported, so it must be set before they are imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
