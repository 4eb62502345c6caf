"""Compiled models that are not one tensor in and one out, for the exporter's tests."""

import keras
import numpy as np
from keras import layers, ops


class Scale(layers.Layer):
    """A custom layer that is not registered with Keras."""

    def build(self, shape: tuple[int, ...]) -> None:
        """One weight."""
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Scaled."""
        return x * self.factor


def custom_loss(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Squared error, by hand."""
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Subclassed(keras.Model):
    """A subclassed model with noise that has no seed of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(4, activation="tanh")
        self.out = layers.Dense(1)

    def call(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Noise comes from the seed that all of Keras shares."""
        hidden = self.hidden(x)
        return self.out(hidden + keras.random.normal(ops.shape(hidden)) * 0.1 if training else hidden)


def with_custom() -> keras.Model:
    """A custom layer and a custom loss."""
    model = keras.Sequential([keras.Input((3,), name="x"), Scale(), layers.Dense(1, name="out")])
    model.compile("sgd", custom_loss)
    return model


def subclassed() -> keras.Model:
    """Called once, so that its shapes are known."""
    model = Subclassed()
    model(np.zeros((1, 3), np.float32))
    model.compile("adam", "mse")
    return model


def never_called() -> keras.Model:
    """Its shapes are not known."""
    model = Subclassed()
    model.compile("adam", "mse")
    return model


def many(as_dict: bool = True) -> keras.Model:
    """Two inputs and three outputs, one of them not trained on; an input and an output share a name."""
    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate()([left, right])
    hidden = layers.Dense(4, activation="relu")(joined)
    outputs = {
        "kind": layers.Dense(3, activation="softmax", name="kind")(hidden),
        "left": layers.Dense(2, name="left_again")(hidden),
        "aside": layers.Dense(1, name="aside")(hidden),
    }
    if as_dict:
        model = keras.Model({"right": right, "left": left}, outputs, name="many")
        names = ("kind", "left")
    else:
        model = keras.Model([left, right], list(outputs.values()), name="many")
        names = ("kind", "left_again")
    losses = dict(zip(names, ("sparse_categorical_crossentropy", "mse"), strict=True))
    if not as_dict:
        losses["aside"] = None
    model.compile("rmsprop", losses, metrics={names[0]: ["accuracy"]})
    return model


def many_in_lists() -> keras.Model:
    """The same with lists."""
    return many(as_dict=False)


def texts() -> keras.Model:
    """Strings in, by way of a vocabulary table."""
    tokens = layers.TextVectorization(output_sequence_length=4)
    tokens.adapt(np.array(["good film", "bad film", "a good day"]))
    model = keras.Sequential(
        [
            keras.Input((), dtype="string", name="text"),
            tokens,
            layers.Embedding(tokens.vocabulary_size(), 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid", name="score"),
        ],
        name="texts",
    )
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy", "auc"])
    return model


def recurrent() -> keras.Model:
    """An LSTM and gradient accumulation, an average of the weights and clipped gradients."""
    model = keras.Sequential(
        [keras.Input((5, 2), name="series"), layers.LSTM(4, recurrent_dropout=0.2), layers.Dense(1, name="next")]
    )
    rule = keras.optimizers.Adam(0.01, clipnorm=1.0, use_ema=True, gradient_accumulation_steps=2)
    model.compile(rule, "mse", weighted_metrics=["mae"])
    return model


def not_compiled() -> keras.Model:
    """Nobody knows how to train it."""
    return keras.Sequential([keras.Input((3,), name="x"), layers.Dense(1)])


def not_a_model() -> int:
    """Not a model."""
    return 1
