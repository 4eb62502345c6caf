"""A SavedModel runtime for MLServer, which has none."""

import numpy as np
import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class SavedModel(MLModel):
    """Runs `serving_default`."""

    async def load(self) -> bool:
        """Loads it from `parameters.uri`."""
        self.loaded = tf.saved_model.load(self.settings.parameters.uri)
        self.signature = self.loaded.signatures["serving_default"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One input `x`, one output `y`."""
        values = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        answer = self.signature(x=tf.constant(values))["y"].numpy()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", answer)])
