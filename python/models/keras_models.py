"""Models built and trained with Keras 3."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from models.assets import asset_file
from models.registry import SEED, model, strings
from models.sentences import SENTENCES, VOCABULARY
from tf_persist_keras.recorded.cases import Built, Case, HeldOut


class DigitsModule(tf.Module):
    """A trained Keras model behind one signature.

    It tracks the plain `tf.Variable`s inside Keras's variables, by layer and name. Tracking the Keras model or its
    variables would save every weight a second time, and the copies then part as soon as something trains.
    """

    def __init__(self, trained: keras.Model) -> None:
        super().__init__()
        weights: dict[str, dict[str, tf.Variable]] = {}
        for weight in trained.weights:
            layer, name = weight.path.split("/")[-2:]
            weights.setdefault(layer, {})[name] = weight.value
        self.weights = weights
        self._call = lambda image: trained(image, training=False)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")])
    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of the ten digits."""
        return {"probabilities": self._call(image)}


@model("digits", "Keras 3 CNN (batch normalisation, dropout) trained on scikit-learn's 1,797 real digits")
def digits(folder: Path) -> Built:
    """8x8 grey images, 0..1, to the probabilities of ten digits; a quarter of the images is held out."""
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[..., np.newaxis]
    labels = data.target.astype(np.int64)
    train_x, held_x, train_y, held_y = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=SEED
    )
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv_1"),
            layers.BatchNormalization(name="norm_1"),
            layers.ReLU(),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv_2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3, seed=SEED),
            layers.Dense(32, activation="relu", name="dense"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name="digits",
    )
    epochs, batch = 20, 64
    steps = epochs * -(-len(train_x) // batch)
    rate = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    network.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    network.fit(train_x, train_y, epochs=epochs, batch_size=batch, verbose=0)
    module = DigitsModule(network)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})
    return Built(
        cases=[Case("serving_default", {"image": held_x[start:end]}) for start, end in [(0, 1), (1, 4), (4, 36)]],
        held_out=HeldOut("serving_default", "image", "probabilities", held_x, held_y, least_accuracy=0.975),
    )


@model("two_in_two_out", "functional Keras 3 model with two inputs and two outputs, trained on real diabetes data")
def two_in_two_out(folder: Path) -> Built:
    """Body measures and blood values to the disease's progression (0..1) and whether it is above the median.

    Written by `model.export`, as most users do it: the signature stands there twice, as `serve` and `serving_default`.
    """
    data = load_diabetes()
    body, blood = (data.data[:, part].astype(np.float32) for part in (slice(0, 4), slice(4, 10)))
    progression = (data.target / data.target.max()).astype(np.float32)
    above = (progression > np.median(progression)).astype(np.float32)
    body_input, blood_input = keras.Input((4,), name="body"), keras.Input((6,), name="blood")
    joined = layers.Concatenate()(
        [layers.Dense(8, activation="relu")(body_input), layers.Dense(8, activation="relu")(blood_input)]
    )
    hidden = layers.Dense(8, activation="tanh")(joined)
    outputs = {
        "progression": layers.Dense(1, name="progression")(hidden),
        "above": layers.Dense(1, activation="sigmoid", name="above")(hidden),
    }
    network = keras.Model({"body": body_input, "blood": blood_input}, outputs, name="diabetes")
    network.compile(keras.optimizers.Adam(1e-2), {"progression": "mse", "above": "binary_crossentropy"})
    targets = {"progression": progression, "above": above}
    network.fit({"body": body, "blood": blood}, targets, epochs=10, batch_size=64, verbose=0)
    network.export(str(folder), verbose=False)
    requests = [{"body": body[rows], "blood": blood[rows]} for rows in (slice(0, 1), slice(1, 6), slice(0, 0))]
    return Built(cases=[Case(name, request) for name in ("serve", "serving_default") for request in requests])


@model("text", "Keras 3 text classifier: strings in, a vocabulary file as asset, scores and strings out")
def text(folder: Path) -> Built:
    """Sentences to a score (0 bad, 1 good) and a label; a second signature gives the token ids."""
    with asset_file(folder, "vocabulary.txt", VOCABULARY) as vocabulary:
        tokens = layers.TextVectorization(output_sequence_length=12, vocabulary=vocabulary)
        network = keras.Sequential(
            [
                keras.Input((), dtype="string", name="text"),
                tokens,
                layers.Embedding(tokens.vocabulary_size(), 8),
                layers.GlobalAveragePooling1D(),
                layers.Dense(1, activation="sigmoid"),
                layers.Reshape(()),
            ],
            name="sentiment",
        )
        network.compile(keras.optimizers.Adam(5e-2), "binary_crossentropy")
        sentences = tf.constant([sentence for sentence, _ in SENTENCES])
        network.fit(sentences, np.array([good for _, good in SENTENCES], np.float32), epochs=40, verbose=0)

        def classify(text: tf.Tensor) -> dict[str, tf.Tensor]:
            score = network(text)
            return {"score": score, "label": tf.where(score > 0.5, "good", "bad")}

        archive = keras.export.ExportArchive()
        archive.track(network)
        signature = [tf.TensorSpec([None], tf.string, name="text")]
        archive.add_endpoint("serving_default", classify, signature)
        archive.add_endpoint("tokens", lambda text: {"ids": tokens(text)}, signature)
        archive.write_out(str(folder), verbose=False)
    odd = strings(
        "", "   ", "?!", "Schöner Tag, großartig!", "素晴らしい 映画", "unheard 🙂 words", b"good\x00film", "ÉTÉ"
    )
    requests = [strings("A wonderful film"), strings(*(sentence for sentence, _ in SENTENCES[:6])), odd, odd[:0]]
    return Built(cases=[Case(name, {"text": batch}) for name in ("serving_default", "tokens") for batch in requests])


def export_once(network: keras.Model, folder: Path, specs: list[tf.TensorSpec]) -> None:
    """Writes a Keras model with one signature, `serving_default`, where `Model.export` would write it twice."""
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serving_default", network, specs)
    archive.write_out(str(folder), verbose=False)


@model("lstm", "Keras 3 LSTM over series of twelve steps: a loop, lists of tensors, and time before the batch")
def lstm(folder: Path) -> Built:
    """Series of six values to three numbers; not trained."""
    series = keras.Input((12, 6), name="series")
    network = keras.Model(series, layers.Dense(3)(layers.LSTM(8)(series)))
    export_once(network, folder, [tf.TensorSpec([None, 12, 6], tf.float32, name="series")])
    values = np.random.default_rng(SEED).normal(size=(5, 12, 6)).astype(np.float32)
    return Built(cases=[Case("serving_default", {"series": values[rows]}) for rows in (slice(0, 1), slice(1, 5))])


@model("attention", "Keras 3 self-attention over ten tokens: an embedding, products of rows with themselves, layer normalisation")
def attention(folder: Path) -> Built:
    """Token numbers to the probabilities of four classes; not trained."""
    tokens = keras.Input((10,), dtype="int32", name="tokens")
    embedded = layers.Embedding(50, 16)(tokens)
    attended = layers.MultiHeadAttention(2, 8)(embedded, embedded)
    hidden = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Add()([embedded, attended])))
    network = keras.Model(tokens, layers.Dense(4, activation="softmax")(hidden))
    export_once(network, folder, [tf.TensorSpec([None, 10], tf.int32, name="tokens")])
    values = np.random.default_rng(SEED).integers(0, 50, (5, 10)).astype(np.int32)
    return Built(cases=[Case("serving_default", {"tokens": values[rows]}) for rows in (slice(0, 1), slice(1, 5))])


@model("padded_text", "Keras 3 text model that pads to the longest text of a batch, without a mask: rows depend on each other")
def padded_text(folder: Path) -> Built:
    """Texts to a score that also depends on how long the other texts of the batch are; not trained."""
    tokens = layers.TextVectorization(vocabulary=["good", "bad", "film", "awful", "was"])
    text = keras.Input((), dtype="string", name="text")
    weights = keras.initializers.RandomUniform(-1, 1, seed=SEED)
    embedded = layers.Embedding(7, 4, embeddings_initializer=weights)(tokens(text))
    network = keras.Model(text, layers.Dense(1)(layers.GlobalAveragePooling1D()(embedded)))
    export_once(network, folder, [tf.TensorSpec([None], tf.string, name="text")])
    requests = [strings("good film"), strings("was was", "good film was bad was awful")]
    return Built(cases=[Case("serving_default", {"text": batch}) for batch in requests])


class NormalizedModule(tf.Module):
    """Every form of normalisation that the fast path folds into weights, one after the other."""

    def __init__(self, network: keras.Model, random: np.random.Generator) -> None:
        super().__init__()
        self.network = [weight.value for weight in network.weights]
        self._call = lambda image: network(image, training=False)
        self.kernel = tf.Variable(random.normal(0.0, 0.3, (1, 1, 6, 5)), dtype=tf.float32, name="kernel")
        ranges = {"gamma": (0.5, 1.5), "beta": (-1.0, 1.0), "mean": (-0.5, 0.5), "variance": (0.5, 2.0)}
        self.norm = {name: tf.Variable(random.uniform(*ends, 5), dtype=tf.float32, name=name) for name, ends in ranges.items()}
        self.product = tf.Variable(random.normal(0.0, 0.5, (5, 4)), dtype=tf.float32, name="product")

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32, name="image")])
    def call(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """A row of four numbers for each image."""
        hidden = tf.nn.conv2d(self._call(image), self.kernel, strides=1, padding="VALID")
        norm = {name: tf.identity(value) for name, value in self.norm.items()}
        hidden = tf.raw_ops.FusedBatchNormV3(
            x=hidden, scale=norm["gamma"], offset=norm["beta"], mean=norm["mean"], variance=norm["variance"], epsilon=1e-3, is_training=False
        ).y
        pooled = tf.reduce_mean(tf.nn.relu(hidden), axis=[1, 2])
        return {"y": (tf.matmul(pooled, self.product) - 0.25) * tf.constant([2.0, 0.5, -1.0, 3.0]), "hidden": hidden}


@model("normalized", "convolutions and matrix products followed by every form of normalisation, random weights")
def normalized(folder: Path) -> Built:
    """8x8 images to four numbers, by Keras's `BatchNormalization` after convolutions, TensorFlow's fused op, and factors."""
    random = np.random.default_rng(SEED)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
            layers.BatchNormalization(scale=False),
            layers.ReLU(6.0),
            layers.SeparableConv2D(6, 3, use_bias=False),
            layers.BatchNormalization(center=False, scale=False),
        ]
    )
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    module = NormalizedModule(network, random)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})
    images = random.normal(0.0, 1.0, (5, 8, 8, 3)).astype(np.float32)
    return Built(cases=[Case("serving_default", {"image": images[start:end]}) for start, end in [(0, 1), (1, 5)]])
