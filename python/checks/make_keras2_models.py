"""Makes small models with `tf_keras` (Keras 2) of many layers and options, with their answers, in the form of the recorded
cases, for `write_back_cases`, `check_keras_back` and `check_keras_converted`.

    python -m checks.make_keras2_models OUT [--seed N]
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tf_keras as keras

L = keras.layers
TEXTS = np.array([["the cat", "a dog"], ["cat b", "zebra the"], ["dog", "a b"]], dtype=object)


def functional(*layers, shape, dtype="float32", batch=None):
    x = y = keras.Input(shape, dtype=dtype, batch_size=batch)
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


def images(*layers):
    return functional(*layers, shape=(8, 8, 4))


def series(*layers):
    return functional(*layers, shape=(6, 3))


def vectors(*layers):
    return functional(*layers, shape=(5,))


def masked(*layers, sequential=False):
    embedding = L.Embedding(10, 4, mask_zero=True)
    if sequential:
        return keras.Sequential([keras.Input((6,), dtype="int32"), embedding, *layers])
    return functional(embedding, *layers, shape=(6,), dtype="int32")


def residual():
    x = keras.Input((6,), dtype="int32")
    y = L.Embedding(10, 4, mask_zero=True)(x)
    z = L.Concatenate()([y, L.Dense(4)(y)])
    z = L.Add()([z, L.Dropout(0.5)(z)])
    z = L.Average()([z, L.LayerNormalization()(z)])
    return keras.Model(x, L.GlobalAveragePooling1D()(L.LSTM(3, return_sequences=True)(z)))


def transformer():
    x = keras.Input((6,), dtype="int32")
    y = L.Embedding(10, 8)(x)
    a = L.MultiHeadAttention(2, 4, value_dim=3, output_shape=8)(y, y, use_causal_mask=True)
    y = L.LayerNormalization(epsilon=1e-6)(L.Add()([y, a]))
    return keras.Model(x, L.Dense(2, "softmax")(L.Flatten()(y)))


def attention(layer, **call):
    q, v = keras.Input((4, 3)), keras.Input((6, 3))
    return keras.Model([q, v], layer([q, v], **call))


def states():
    x = keras.Input((6, 3))
    y, h, c = L.LSTM(4, return_state=True, return_sequences=True)(x)
    z = L.LSTM(4, return_sequences=True)(y, initial_state=[h, c])
    return keras.Model(x, {"last": L.GRU(4)(z, initial_state=h), "all": z})


def shared():
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    inner = keras.Sequential([keras.Input((5,)), L.Dense(4, "relu"), L.Dense(3)], name="inner")
    z = keras.Input((3,))
    other = keras.Model(z, [L.Dense(2)(z), L.Dense(3, "tanh")(z)], name="other")
    p, q = other(inner(a)), other(inner(b))
    return keras.Model({"a": a, "b": b}, [L.Concatenate()([p[0], q[0]]), L.Multiply()([p[1], q[1]]), inner(a)])


def nested_outputs():
    x = keras.Input((5,))
    inner = keras.Sequential([L.Dense(3), L.BatchNormalization(), L.Activation("relu")])
    f = keras.Input((3,))
    model = keras.Model(f, L.Dense(2)(f))
    y = inner(x)
    return keras.Model(x, [model(y), model(L.Dense(3)(y)), y])


def compiled(optimizer, loss="mse", metrics=("mae",)):
    model = keras.Sequential([keras.Input((5,)), L.Dense(4, "relu", kernel_regularizer="l2"), L.Dense(2)])
    model.compile(optimizer, loss, list(metrics))
    rng = np.random.default_rng(1)
    for _ in range(3):
        model.train_on_batch(rng.random((4, 5)).astype("float32"), rng.random((4, 2)).astype("float32"))
    return model


def adapted(layer, data, shape, dtype="string"):
    layer.adapt(data)
    return functional(layer, shape=shape, dtype=dtype)


def old_sequential():
    model = keras.Sequential()
    model.add(L.Dense(4, activation="relu", input_shape=(5,)))
    model.add(L.Dense(2))
    return model


def mixed():
    policy = keras.mixed_precision.Policy("mixed_float16")
    return functional(L.Dense(8, "hard_sigmoid", dtype=policy), L.BatchNormalization(dtype=policy), L.Dense(2), shape=(5,))


def function_of_tensorflow():
    x = keras.Input((6, 4))
    y = tf.nn.relu(x * 2.0 - 1.0) + tf.reduce_mean(x, axis=-1, keepdims=True)
    y = tf.concat([y, tf.transpose(tf.reshape(x, [-1, 4, 6]), [0, 2, 1])], axis=-1)
    z = y[:, 1:4, ::2] / (tf.exp(-y[:, :3, :4]) + 1.0)
    return keras.Model(x, tf.cast(tf.sqrt(tf.abs(z)) ** 2, "float32"))


def more_functions_of_tensorflow():
    x = keras.Input((6, 4))
    y = tf.nn.gelu(x, approximate=True) + tf.nn.leaky_relu(x, alpha=0.1) - tf.nn.softmax(x, axis=1)
    y = tf.where(y > 0.2, y, tf.clip_by_value(x, -0.1, 0.4)) * tf.sigmoid(x) ** 2
    z = tf.squeeze(tf.stack([tf.expand_dims(y, 1), tf.tile(tf.expand_dims(x, 1), [1, 1, 1, 1])], axis=1), axis=[2])
    z = tf.reduce_sum(z, axis=1) / tf.math.reduce_max(tf.abs(x), axis=[1, 2], keepdims=True)
    w = tf.matmul(z, tf.transpose(z, [0, 2, 1]))
    return keras.Model(x, [w[:, :, 0], z[:, -1], tf.math.log1p(tf.math.square(1.0 - w)), tf.nn.silu(tf.math.rsqrt(2.0 + y * y))])


def models():
    """Names and functions that make the models."""
    act = ["elu", "selu", "gelu", "softsign", "exponential", "hard_sigmoid", "swish", "relu6", "mish", "log_softmax"]
    for name in act:
        yield f"act_{name}", lambda name=name: vectors(L.Dense(4, name), L.Activation(name))
    yield "act_objects", lambda: vectors(L.Dense(4, activation=L.LeakyReLU(0.2)), L.LeakyReLU(), L.ELU(0.5), L.ReLU(2, 0.1, 0.2))
    yield "act_more", lambda: vectors(L.Dense(4), L.ThresholdedReLU(0.3), L.PReLU(), L.Softmax())
    yield "act_prelu", lambda: images(L.PReLU(shared_axes=[1, 2]), L.Softmax([1, 2]))
    for cell in (L.LSTM, L.GRU, L.SimpleRNN):
        name = cell.__name__.lower()
        yield f"{name}_back", lambda cell=cell: series(cell(4, return_sequences=True, go_backwards=True, unroll=True), cell(3, use_bias=False))
        yield f"{name}_stateful", lambda cell=cell: functional(cell(4, stateful=True), shape=(6, 3), batch=2)
        yield f"{name}_masked", lambda cell=cell: masked(cell(4, return_sequences=True), L.Bidirectional(cell(3)), sequential=True)
        yield f"{name}_bi_seq", lambda cell=cell: masked(L.Bidirectional(cell(3, return_sequences=True), merge_mode="sum"))
        yield f"{name}_dropout", lambda cell=cell: series(cell(4, dropout=0.2, recurrent_dropout=0.2))
    yield "lstm_hard", lambda: series(L.Bidirectional(L.LSTM(3, recurrent_activation="hard_sigmoid"), backward_layer=L.LSTM(3, recurrent_activation="hard_sigmoid", go_backwards=True)))
    yield "gru_hard", lambda: series(L.GRU(3, recurrent_activation="hard_sigmoid", activation="relu", implementation=1))
    yield "gru_before", lambda: series(L.GRU(3, reset_after=False))
    yield "rnn_cells", lambda: series(L.RNN(L.LSTMCell(3, recurrent_activation="hard_sigmoid"), return_sequences=True), L.RNN([L.GRUCell(3), L.SimpleRNNCell(2)]))
    yield "convlstm", lambda: functional(L.ConvLSTM1D(3, 2, return_sequences=True), L.ConvLSTM1D(2, 2, padding="same"), shape=(4, 6, 3))
    yield "convlstm3d", lambda: functional(L.ConvLSTM3D(2, 2), shape=(3, 4, 4, 4, 2))
    yield "states", states
    yield "td", lambda: functional(L.TimeDistributed(L.Conv2D(2, 3, activation="hard_sigmoid")), L.TimeDistributed(L.Flatten()), shape=(3, 6, 6, 2))
    yield "td_masked", lambda: masked(L.TimeDistributed(L.Dense(3)), L.GRU(2))
    yield "conv1d", lambda: series(L.Conv1D(4, 3, padding="causal", dilation_rate=2), L.Conv1DTranspose(3, 3, strides=2), L.SeparableConv1D(2, 3, depth_multiplier=2), L.DepthwiseConv1D(3, depth_multiplier=2))
    yield "conv2d", lambda: images(L.Conv2D(4, 3, groups=2, activation="relu"), L.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1), L.SeparableConv2D(4, 3, strides=2), L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False))
    yield "conv3d", lambda: functional(L.Conv3D(3, 2), L.Conv3DTranspose(2, 2, strides=2), shape=(4, 4, 4, 2))
    yield "local1d", lambda: series(L.LocallyConnected1D(2, 3))
    yield "pool1d", lambda: series(L.MaxPooling1D(2, padding="same"), L.AveragePooling1D(2, strides=1), L.GlobalMaxPooling1D(keepdims=True))
    yield "pool3d", lambda: functional(L.MaxPooling3D(2), L.AveragePooling3D(2, padding="same"), L.GlobalAveragePooling3D(), shape=(4, 4, 4, 2))
    yield "norm", lambda: images(L.BatchNormalization(momentum=0.9), L.LayerNormalization(axis=[1, 2]), L.GroupNormalization(2), L.UnitNormalization())
    yield "norm_axis", lambda: images(L.BatchNormalization(axis=1, scale=False), L.LayerNormalization(axis=-1, center=False))
    yield "norm_fixed", lambda: vectors(L.Normalization(mean=[1.0, 2, 3, 4, 5], variance=[2.0] * 5), L.Rescaling([1.0, 2, 3, 4, 5], 0.5))
    yield "norm_adapted", lambda: adapted(L.Normalization(axis=-1, invert=True), np.random.rand(20, 5).astype("float32"), (5,), "float32")
    yield "norm_adapted_scalar", lambda: adapted(L.Normalization(axis=None), np.random.rand(20, 5).astype("float32"), (5,), "float32")
    yield "spectral", lambda: vectors(L.SpectralNormalization(L.Dense(2)))
    yield "shapes", lambda: images(L.Cropping2D(((1, 0), (0, 2))), L.ZeroPadding2D(1), L.Permute((2, 1, 3)), L.Reshape((-1, 4)), L.RepeatVector(2) if False else L.Cropping1D(1), L.UpSampling1D(2), L.ZeroPadding1D((1, 2)), L.Flatten(), L.RepeatVector(2))
    yield "shapes3d", lambda: functional(L.Cropping3D(1), L.ZeroPadding3D(1), L.UpSampling3D(2), shape=(4, 4, 4, 2))
    yield "resize", lambda: images(L.Resizing(5, 6), L.UpSampling2D((2, 3), interpolation="bilinear"), L.CenterCrop(6, 4), L.Resizing(4, 4, crop_to_aspect_ratio=True, interpolation="bicubic"))
    yield "random", lambda: images(L.RandomFlip(), L.RandomRotation(0.1), L.RandomZoom(0.1), L.RandomTranslation(0.1, 0.1), L.RandomContrast(0.1), L.RandomBrightness(0.1))
    yield "random_crop", lambda: functional(L.RandomCrop(5, 6), shape=(9, 8, 3))
    yield "random_height", lambda: images(L.RandomHeight(0.1), L.RandomWidth(0.1))
    yield "noise", lambda: vectors(L.GaussianDropout(0.1), L.AlphaDropout(0.1), L.GaussianNoise(0.1), L.Dropout(0.1, noise_shape=(None, 5)), L.ActivityRegularization(0.1))
    yield "noise_spatial", lambda: images(L.SpatialDropout2D(0.2))
    yield "rules", lambda: vectors(L.Dense(4, kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2), kernel_constraint="max_norm", bias_initializer=keras.initializers.Constant(1.0), activity_regularizer="l1", kernel_initializer=keras.initializers.VarianceScaling(2.0)))
    yield "rules_orthogonal", lambda: vectors(L.Dense(4, kernel_regularizer=keras.regularizers.OrthogonalRegularizer(), kernel_constraint=keras.constraints.MinMaxNorm(), kernel_initializer="he_normal"))
    yield "einsum", lambda: series(L.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d", activation="relu"))
    yield "residual", residual
    yield "transformer", transformer
    yield "attention", lambda: attention(L.Attention(use_scale=True, score_mode="concat"))
    yield "attention_causal", lambda: attention(L.Attention(dropout=0.1), use_causal_mask=True)
    yield "attention_additive", lambda: attention(L.AdditiveAttention())
    yield "attention_multi", lambda: keras.Model(*(lambda q, v: ([q, v], L.MultiHeadAttention(2, 3, attention_axes=[1], use_bias=False)(q, v, return_attention_scores=True)))(keras.Input((4, 3)), keras.Input((6, 3))))
    yield "dot", lambda: keras.Model(*(lambda a, b: ([a, b], L.Dot((2, 1))([a, b])))(keras.Input((4, 3)), keras.Input((3, 2))))
    yield "merge", lambda: keras.Model(*(lambda a, b: ([a, b], [L.Subtract()([a, b]), L.Minimum()([a, b]), L.Concatenate(1)([a, b, a])]))(keras.Input((5,)), keras.Input((5,))))
    yield "shared", shared
    yield "nested_outputs", nested_outputs
    yield "old_sequential", old_sequential
    yield "unbuilt_shape", lambda: keras.Sequential([L.Embedding(10, 4, input_length=6), L.Flatten(), L.Dense(2)])
    yield "mixed", mixed
    yield "float64", lambda: functional(L.Dense(3, dtype="float64"), L.LayerNormalization(dtype="float64"), shape=(5,), dtype="float64")
    yield "frozen", lambda: (lambda m: (setattr(m.layers[1], "trainable", False), m)[1])(vectors(L.Dense(3), L.BatchNormalization(), L.Dense(2)))
    for mode in ("int", "one_hot", "multi_hot", "count"):
        yield f"strings_{mode}", lambda mode=mode: functional(L.StringLookup(vocabulary=["the", "cat", "a"], output_mode=mode, num_oov_indices=2), shape=(1,) if mode == "one_hot" else (2,), dtype="string")
        yield f"integers_{mode}", lambda mode=mode: functional(L.IntegerLookup(vocabulary=[3, 5, 8], output_mode=mode), shape=(1,) if mode == "one_hot" else (4,), dtype="int64")
        yield f"bins_{mode}", lambda mode=mode: functional(L.Discretization([0.2, 0.5, 0.7], output_mode=mode), shape=(1,) if mode == "one_hot" else (5,))
        yield f"hashing_{mode}", lambda mode=mode: functional(L.Hashing(7, output_mode=mode, salt=[1, 2]), shape=(1,) if mode == "one_hot" else (2,), dtype="string")
    yield "strings_dense", lambda: keras.Sequential([keras.Input((2,), dtype="string"), L.StringLookup(vocabulary=["the", "a"], output_mode="multi_hot"), L.Dense(2)])
    yield "strings_mask", lambda: functional(L.StringLookup(vocabulary=["the", "a"], mask_token=""), L.Embedding(5, 2, mask_zero=True), L.LSTM(2), shape=(2,), dtype="string")
    yield "strings_invert", lambda: functional(L.StringLookup(vocabulary=["the", "a"], invert=True), shape=(2,), dtype="int64")
    yield "strings_adapted", lambda: adapted(L.StringLookup(), np.array(["a", "b", "a", "the"]), (2,))
    yield "integers_adapted", lambda: adapted(L.IntegerLookup(output_mode="count"), np.array([1, 2, 2, 7]), (4,), "int64")
    yield "strings_tfidf", lambda: functional(L.StringLookup(vocabulary=["the", "a"], output_mode="tf_idf", idf_weights=[0.5, 0.25]), shape=(2,), dtype="string")
    yield "text_adapted", lambda: adapted(L.TextVectorization(output_mode="count", ngrams=2), np.array(["a b", "the cat a"]), (1,))
    yield "text_tfidf", lambda: adapted(L.TextVectorization(output_mode="tf_idf"), np.array(["a b", "the cat a"]), (1,))
    yield "text_lstm", lambda: keras.Sequential([keras.Input((1,), dtype="string"), L.TextVectorization(vocabulary=["the", "cat", "a"], output_sequence_length=4), L.Embedding(6, 3, mask_zero=True), L.LSTM(2)])
    yield "bins_adapted", lambda: adapted(L.Discretization(num_bins=3), np.random.rand(50, 1).astype("float32"), (5,), "float32")
    yield "categories", lambda: functional(L.CategoryEncoding(6, output_mode="multi_hot"), L.Dense(2), shape=(3,), dtype="int32")
    yield "crossing", lambda: keras.Model(*(lambda a, b: ([a, b], L.HashedCrossing(5, output_mode="one_hot")([a, b])))(keras.Input((1,), dtype="string"), keras.Input((1,), dtype="int64")))
    for optimizer in ("sgd", "rmsprop", "adam", "adamw", "adagrad", "adadelta", "adamax", "nadam", "ftrl"):
        yield f"compiled_{optimizer}", lambda optimizer=optimizer: compiled(optimizer)
    yield "compiled_options", lambda: compiled(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), momentum=0.9, nesterov=True, clipnorm=1.0), keras.losses.Huber(2.0), [keras.metrics.RootMeanSquaredError(), "mse"])
    yield "compiled_legacy", lambda: compiled(keras.optimizers.legacy.Adam(0.01))
    yield "compiled_decay", lambda: compiled(keras.optimizers.legacy.SGD(0.01, decay=0.1))
    yield "functions", function_of_tensorflow
    yield "functions_more", more_functions_of_tensorflow


def inputs_of(model, rng):
    values = []
    for tensor in model.inputs:
        shape = [size or 2 for size in tensor.shape]
        values.append({
            "string": lambda: np.resize(TEXTS, shape),
            "float32": lambda: rng.random(shape, dtype="float32") * 2 - 0.5,
            "float64": lambda: rng.random(shape),
            "int32": lambda: rng.integers(0, 6, shape).astype("int32"),
            "int64": lambda: rng.integers(0, 4, shape),
        }[tensor.dtype.name]())
    return values


def note(arrays, key, value):
    """Keeps an array as recorded cases have it."""
    if value.dtype == object:
        data = [text if isinstance(text, bytes) else str(text).encode() for text in value.ravel()]
        arrays[f"{key}.bytes"] = np.frombuffer(b"".join(data), np.uint8)
        arrays[f"{key}.offsets"] = np.cumsum([0] + [len(text) for text in data])
        return {"dtype": "string", "shape": list(value.shape), "npz": key}
    arrays[key] = value
    return {"dtype": value.dtype.name, "shape": list(value.shape), "npz": key}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    rng = np.random.default_rng(arguments.seed)
    keras.utils.set_random_seed(arguments.seed)
    for name, make in models():
        if arguments.filter not in name:
            continue
        keras.backend.clear_session()
        folder = arguments.out / f"k2_{name}"
        try:
            model = make()
            if not model.built:
                model.build((None, 6))
            for weight in () if "adapted" in name or "tfidf" in name else model.weights:
                # So that nothing is as it was before training.
                if getattr(weight, "shape", None) is not None and None not in tuple(weight.shape) and weight.dtype.is_floating:
                    noise = rng.random(weight.shape).astype(weight.dtype.as_numpy_dtype)
                    weight.assign(weight + 0.3 * noise if "variance" in weight.name else weight + noise - 0.3)
            folder.mkdir(parents=True, exist_ok=True)
            values = inputs_of(model, rng)
            given = [tf.constant(value) for value in values]
            if isinstance(model.input, dict):
                given = [dict(zip(model.input, given))]
            results = model(given if len(given) > 1 else given[0], training=False)
            results = list(results.values()) if isinstance(results, dict) else results
            results = results if isinstance(results, (list, tuple)) else [results]
            files = []
            for file in ("model.keras", "model.h5"):
                try:
                    model.save(folder / file)
                    files.append(file)
                except Exception as error:
                    print(f"{name}/{file} cannot be saved: {str(error)[:200]}")
        except Exception as error:
            print(f"{name} cannot be made: {str(error)[:300]}")
            continue
        arrays = {}
        case = {
            "inputs": {str(index): note(arrays, f"in.{index}", value) for index, value in enumerate(values)},
            "outputs": {str(index): note(arrays, f"out.{index}", np.asarray(value)) for index, value in enumerate(results)},
        }
        # Keras 2 does not read what it learned from its own `.keras` file.
        status = {"model.keras": "do not test against"} if name == "bins_adapted" else {}
        meta = {"name": name, "keras_version": keras.__version__, "files": files, "cases": [case], "status": status,
                "tolerance": {"atol": 2e-6, "rtol": 1e-5}}
        np.savez(folder / "io.npz", **arrays)
        (folder / "meta.json").write_text(json.dumps(meta, indent=1))


if __name__ == "__main__":
    main()
