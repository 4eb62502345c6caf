"""FastAPI around `tf.saved_model.load`, as in common tutorials; started by uvicorn with MODEL and HANDLER in the environment."""

import os

import tensorflow as tf
from fastapi import FastAPI
from pydantic import BaseModel

model = tf.saved_model.load(os.environ["MODEL"])
signature = model.signatures["serving_default"]
app = FastAPI()


class Request(BaseModel):
    """The row format of TensorFlow Serving."""

    instances: list


def _answer(request: Request) -> dict:
    outputs = signature(x=tf.constant(request.instances, tf.float32))
    return {"predictions": outputs["y"].numpy().tolist()}


if os.environ.get("HANDLER") == "def":

    @app.post("/v1/models/m:predict")
    def predict(request: Request) -> dict:
        """In a thread of the pool."""
        return _answer(request)
else:

    @app.post("/v1/models/m:predict")
    async def predict_here(request: Request) -> dict:
        """In the loop's own thread."""
        return _answer(request)


@app.get("/ready")
async def ready() -> dict:
    """Answers once the model is loaded."""
    return {}
