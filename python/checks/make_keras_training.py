"""Makes compiled Keras models and records how Keras trains them, for `check_keras_training`.

    PYTHONPATH=python .venv/bin/python -m checks.make_keras_training CASES [FILTER]

Each case is a folder as the check takes it: `compiled.keras`, `compiled.h5`, `io.npz` with the batches, `meta.json` with
the logs of `train_on_batch(jit_compile=False)`, and `after.npz` with all variables at the end. The models have made two
steps before they are saved, so that their optimizers have a state.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, losses, metrics, ops, optimizers

# Before anything is computed; with several threads, sums differ in their last bits.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

CASES = {}
BATCH = 6


def case(function):
    CASES[function.__name__] = function
    return function


def cases(prefix, options):
    """Cases of one form, by name."""
    for name, option in options.items():
        CASES[f"{prefix}_{name}"] = option


def dense(outputs=3, activation=None, inputs=5):
    return keras.Sequential([keras.Input((inputs,)), layers.Dense(7, "tanh"), layers.Dense(outputs, activation)])


def compiled(model, optimizer="sgd", loss="mse", **arguments):
    model.compile(optimizer() if callable(optimizer) else optimizer, loss, jit_compile=False, **arguments)
    return model


def with_optimizer(make, **arguments):
    return lambda: compiled(dense(), make, metrics=["mae"], **arguments)


def with_embedding(make):
    def build():
        model = keras.Sequential([
            keras.Input((4,), dtype="int32"), layers.Embedding(6, 3), layers.Flatten(), layers.Dense(2)])
        return compiled(model, make)
    return build


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "sgd_momentum": lambda: optimizers.SGD(0.1, 0.9),
    "sgd_nesterov": lambda: optimizers.SGD(0.1, 0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adam_amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, beta_1=0.8, beta_2=0.99, epsilon=1e-5),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "rmsprop_all": lambda: optimizers.RMSprop(0.01, 0.8, 0.7, 1e-6, True),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adamax": lambda: optimizers.Adamax(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adafactor": lambda: optimizers.Adafactor(0.01),
    "adafactor_absolute": lambda: optimizers.Adafactor(0.01, relative_step=False, clip_threshold=0.5),
    "ftrl": lambda: optimizers.Ftrl(
        0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.02,
        l2_shrinkage_regularization_strength=0.03, beta=0.1),
    "lion": lambda: optimizers.Lion(0.01),
    "lamb": lambda: optimizers.Lamb(0.01),
    "muon": lambda: optimizers.Muon(0.01),
    "muon_plain": lambda: optimizers.Muon(0.01, nesterov=False, rms_rate=None, weight_decay=None, adam_weight_decay=None),
    "schedule_free": lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3),
    "clipnorm": lambda: optimizers.Adam(0.01, clipnorm=0.1),
    "clipvalue": lambda: optimizers.SGD(0.1, clipvalue=0.05),
    "global_clipnorm": lambda: optimizers.RMSprop(0.01, global_clipnorm=0.1),
    "weight_decay": lambda: optimizers.SGD(0.1, 0.9, weight_decay=0.05),
    "averages": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=2),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "accumulation_averages": lambda: optimizers.SGD(
        0.1, 0.9, gradient_accumulation_steps=3, use_ema=True, ema_overwrite_frequency=2, clipnorm=0.5, weight_decay=0.01),
    "loss_scale": lambda: optimizers.SGD(0.1, loss_scale_factor=8.0),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), 8.0, 2),
    "scaled_overflow": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), 1e38, 2),
}
cases("optimizer", {name: with_optimizer(make) for name, make in OPTIMIZERS.items()})
cases("sparse", {name: with_embedding(make) for name, make in OPTIMIZERS.items() if name not in ("loss_scale",)})

schedules = optimizers.schedules
cases("schedule", {name: with_optimizer(lambda make=make: optimizers.SGD(make())) for name, make in {
    "exponential": lambda: schedules.ExponentialDecay(0.1, 3, 0.5),
    "staircase": lambda: schedules.ExponentialDecay(0.1, 2, 0.5, staircase=True),
    "inverse": lambda: schedules.InverseTimeDecay(0.1, 3, 0.5),
    "piecewise": lambda: schedules.PiecewiseConstantDecay([1, 3, 4], [0.1, 0.2, 0.3, 0.4]),
    "polynomial": lambda: schedules.PolynomialDecay(0.1, 4, 0.01, 2.0),
    "polynomial_cycle": lambda: schedules.PolynomialDecay(0.1, 2, 0.01, 0.5, cycle=True),
    "cosine": lambda: schedules.CosineDecay(0.1, 4, 0.1),
    "cosine_warmup": lambda: schedules.CosineDecay(0.1, 4, 0.1, warmup_target=0.2, warmup_steps=4),
    "restarts": lambda: schedules.CosineDecayRestarts(0.1, 2, 2.0, 0.5, 0.01),
    "restarts_even": lambda: schedules.CosineDecayRestarts(0.1, 2, 1.0, 0.9, 0.01),
}.items()})
cases("schedule", {"adam_accumulation": with_optimizer(lambda: optimizers.Adam(
    schedules.CosineDecay(0.1, 4), gradient_accumulation_steps=2))})


def of_probabilities(loss, activation="sigmoid", outputs=3, **arguments):
    return lambda: compiled(dense(outputs, activation), loss=loss, **arguments)


cases("loss", {
    "mse": of_probabilities("mse", None),
    "mae": of_probabilities("mean_absolute_error", None),
    "mape": of_probabilities(losses.MeanAbsolutePercentageError(), None),
    "msle": of_probabilities("msle"),
    "cosine": of_probabilities("cosine_similarity", None),
    "huber": of_probabilities(losses.Huber(), None),
    "log_cosh": of_probabilities("log_cosh", None),
    "poisson": of_probabilities("poisson"),
    "kld": of_probabilities("kld"),
    "hinge": of_probabilities("hinge", None),
    "squared_hinge": of_probabilities("squared_hinge", None),
    "categorical_hinge": of_probabilities("categorical_hinge", None),
    "bce": of_probabilities("bce"),
    "bce_logits": of_probabilities(losses.BinaryCrossentropy(True, 0.1), None),
    "bce_probabilities": lambda: compiled(keras.Sequential([*dense(3, "sigmoid").layers, layers.Reshape((3,))]), loss="bce"),
    "bce_one": of_probabilities("binary_crossentropy", outputs=1, metrics=["accuracy"]),
    "focal": of_probabilities(losses.BinaryFocalCrossentropy(True, 0.3, 1.5)),
    "focal_logits": of_probabilities(losses.BinaryFocalCrossentropy(from_logits=True), None),
    "ce": of_probabilities("categorical_crossentropy", "softmax", metrics=["accuracy"]),
    "ce_smoothing": of_probabilities(losses.CategoricalCrossentropy(label_smoothing=0.2), "softmax"),
    "ce_logits": of_probabilities(losses.CategoricalCrossentropy(from_logits=True), None),
    "ce_sigmoid": of_probabilities("categorical_crossentropy", "sigmoid"),
    "ce_probabilities": of_probabilities("categorical_crossentropy", "softplus"),
    "categorical_focal": of_probabilities(losses.CategoricalFocalCrossentropy(), "softmax"),
    "sparse_ce": of_probabilities("sparse_categorical_crossentropy", "softmax", metrics=["acc"]),
    "sparse_ce_logits": of_probabilities(losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1), None),
    "sparse_ce_probabilities": of_probabilities("sparse_categorical_crossentropy", "softplus"),
    "crossentropy": of_probabilities("crossentropy", "softmax"),
    "dice": of_probabilities(losses.Dice()),
    "dice_axis": of_probabilities(losses.Dice(axis=(1,))),
    "tversky": of_probabilities(losses.Tversky(0.3, 0.6)),
    "circle": lambda: compiled(keras.Sequential([*dense(3).layers, layers.UnitNormalization()]), loss=losses.Circle(gamma=8)),
    "generalized": of_probabilities(losses.CategoricalGeneralizedCrossEntropy(0.7), "softmax"),
    "sum": of_probabilities(losses.MeanSquaredError("sum"), None),
    "weighted_mean": of_probabilities(losses.MeanSquaredError("mean_with_sample_weight"), None),
})

cases("metric", {
    "regression": of_probabilities("mse", None, metrics=[
        "mse", "mae", metrics.RootMeanSquaredError(), metrics.CosineSimilarity(), metrics.MeanAbsolutePercentageError(),
        metrics.LogCoshError(), metrics.MeanSquaredLogarithmicError()]),
    "binary": of_probabilities("bce", outputs=1, metrics=[
        "accuracy", metrics.BinaryAccuracy(threshold=0.4), metrics.Precision(), metrics.Recall(0.3), metrics.TruePositives(),
        metrics.FalsePositives(), metrics.TrueNegatives(), metrics.FalseNegatives(), "binary_crossentropy", "hinge"]),
    "classes": of_probabilities("categorical_crossentropy", "softmax", metrics=[
        "accuracy", "categorical_accuracy", metrics.TopKCategoricalAccuracy(2), metrics.CategoricalCrossentropy(),
        metrics.KLDivergence(), "poisson", metrics.Precision(class_id=1), metrics.Recall(thresholds=[0.2, 0.5])]),
    "sparse": of_probabilities("sparse_categorical_crossentropy", "softmax", metrics=[
        "accuracy", metrics.SparseTopKCategoricalAccuracy(2), metrics.SparseCategoricalCrossentropy()]),
    "weighted": lambda: compiled(dense(), metrics=["mae"], weighted_metrics=["mae", "mse"]),
    "auc": of_probabilities("bce", outputs=1, metrics=[
        metrics.AUC(), metrics.AUC(curve="PR", num_thresholds=20), metrics.AUC(summation_method="minoring"),
        metrics.AUC(curve="PR", summation_method="majoring", name="m"), metrics.AUC(thresholds=[0.3, 0.35, 0.8], name="t")]),
    "auc_logits": of_probabilities(losses.BinaryCrossentropy(True), None, metrics=[metrics.AUC(from_logits=True)]),
    "scores": of_probabilities("categorical_crossentropy", "softmax", metrics=[
        metrics.F1Score(), metrics.FBetaScore("macro", 0.5, 0.4), metrics.F1Score("micro", name="a"),
        metrics.F1Score("weighted", name="b")]),
    "auc_labels": of_probabilities("bce", metrics=[
        metrics.AUC(multi_label=True), metrics.AUC(curve="PR", num_thresholds=20, multi_label=True, num_labels=3),
        metrics.AUC(curve="PR", summation_method="majoring", multi_label=True, name="m")]),
    "iou": of_probabilities("sparse_categorical_crossentropy", "softmax", metrics=[
        metrics.MeanIoU(3, sparse_y_pred=False), metrics.IoU(3, [0, 2], sparse_y_pred=False),
        metrics.MeanIoU(3, ignore_class=1, sparse_y_pred=False, name="i")]),
    "iou_one_hot": of_probabilities("categorical_crossentropy", "softmax", metrics=[
        metrics.OneHotMeanIoU(3), metrics.OneHotIoU(3, [1])]),
    "iou_binary": of_probabilities("bce", outputs=1, metrics=[
        metrics.BinaryIoU(), metrics.BinaryIoU([1], 0.4, name="one"), metrics.BinaryIoU([0], dtype="float32", name="zero")]),
    "r2": of_probabilities("mse", None, metrics=[
        metrics.R2Score(), metrics.R2Score(class_aggregation=None, name="each"),
        metrics.R2Score(class_aggregation="variance_weighted_average", name="weighted")]),
    "at": of_probabilities("bce", outputs=1, metrics=[
        metrics.SensitivityAtSpecificity(0.5), metrics.PrecisionAtRecall(0.5, num_thresholds=10)]),
})


@case
def outputs_list():
    x = keras.Input((5,), name="x")
    h = layers.Dense(4, "relu")(x)
    model = keras.Model(x, [layers.Dense(1, "sigmoid", name="yes")(h), layers.Dense(3, name="what")(h)])
    return compiled(model, loss=["bce", "mse"], loss_weights=[0.3, 2.0], metrics=[["accuracy"], ["mae", "mse"]])


@case
def outputs_dict():
    x, z = keras.Input((5,), name="x"), keras.Input((2,), name="z")
    h = layers.Dense(4, "relu")(layers.Concatenate()([x, z]))
    model = keras.Model([x, z], {"b": layers.Dense(1, name="one")(h), "a": layers.Dense(3, "softmax", name="two")(h)})
    return compiled(model, loss={"a": "sparse_categorical_crossentropy", "b": "mae"}, metrics={"a": "accuracy", "b": ["mse"]})


@case
def outputs_unjudged():
    x = keras.Input((5,), name="x")
    h = layers.Dense(4, "relu")(x)
    model = keras.Model(x, [layers.Dense(1, name="yes")(h), layers.Dense(3, name="what")(h)])
    return compiled(model, loss={"yes": "mse", "what": None}) if False else compiled(model, loss=["mse", None])


@case
def regularizers_all():
    r, c = keras.regularizers, keras.constraints
    model = keras.Sequential([
        keras.Input((5,)),
        layers.Dense(6, "relu", kernel_regularizer=r.L1L2(0.01, 0.02), bias_regularizer="l2", kernel_constraint=c.MaxNorm(0.9)),
        layers.Dense(4, activity_regularizer=r.L1(0.01), kernel_constraint=c.UnitNorm(1), bias_constraint="non_neg"),
        layers.ActivityRegularization(0.01, 0.02),
        layers.Dense(3, kernel_regularizer=r.OrthogonalRegularizer(0.1), kernel_constraint=c.MinMaxNorm(0.2, 0.8, 0.5)),
    ])
    return compiled(model)


@case
def shared_layer():
    x, z = keras.Input((5,), name="x"), keras.Input((5,), name="z")
    shared = layers.Dense(4, "tanh", kernel_regularizer="l2")
    return compiled(keras.Model([x, z], layers.Dense(2)(layers.Add()([shared(x), shared(z), shared(layers.Add()([x, z]))]))))


@case
def frozen_part():
    base = keras.Sequential([keras.Input((5,)), layers.Dense(4, "relu"), layers.Dense(4)], name="base")
    base.layers[0].trainable = False
    x = keras.Input((5,))
    return compiled(keras.Model(x, layers.Dense(2)(base(x))), "adam")


def shaped(shape):
    return lambda build: case(build)


def layered(name, shape, *stack, outputs=2, optimizer="sgd", loss="mse", dtype="float32"):
    """A model with these layers before a dense layer."""
    def build():
        model = keras.Sequential([keras.Input(shape, dtype=dtype), *[make() for make in stack]])
        if len(model.output_shape) > 2:
            model.add(layers.Flatten())
        model.add(layers.Dense(outputs))
        return compiled(model, optimizer, loss)
    CASES[f"layer_{name}"] = build


for rate_case, make in {
    "dropout": lambda: layers.Dropout(0.4, seed=3),
    "dropout_shape": lambda: layers.Dropout(0.4, noise_shape=(None, 1), seed=3),
    "gaussian_noise": lambda: layers.GaussianNoise(0.3, seed=4),
    "gaussian_dropout": lambda: layers.GaussianDropout(0.3, seed=5),
    "alpha_dropout": lambda: layers.AlphaDropout(0.3, seed=6),
}.items():
    layered(rate_case, (6,), lambda: layers.Dense(8, "relu"), make)
layered("spatial_dropout1d", (4, 6), lambda: layers.Dense(5), lambda: layers.SpatialDropout1D(0.4, seed=7))
layered("spatial_dropout2d", (4, 3, 6), lambda: layers.Dense(5), lambda: layers.SpatialDropout2D(0.4, seed=7))
layered("batchnorm", (6,), lambda: layers.Dense(8), lambda: layers.BatchNormalization(), lambda: layers.ReLU())
layered("batchnorm_image", (5, 4, 3), lambda: layers.Conv2D(4, 3), lambda: layers.BatchNormalization(momentum=0.8))
layered("layernorm", (4, 6), lambda: layers.Dense(5), lambda: layers.LayerNormalization())
layered("groupnorm", (4, 6), lambda: layers.Dense(6), lambda: layers.GroupNormalization(3))
layered("rmsnorm", (4, 6), lambda: layers.Dense(6), lambda: layers.RMSNormalization())
for padding in ("same", "valid"):
    layered(f"conv1d_{padding}", (9, 3), lambda p=padding: layers.Conv1D(4, 3, 2, p))
    layered(f"conv2d_{padding}", (9, 8, 3), lambda p=padding: layers.Conv2D(4, 3, 2, p), optimizer="adam")
    layered(f"conv2d_dilated_{padding}", (9, 8, 3), lambda p=padding: layers.Conv2D(4, 3, 1, p, dilation_rate=2))
    layered(f"conv3d_{padding}", (5, 4, 6, 2), lambda p=padding: layers.Conv3D(3, 2, 1, p))
    layered(f"depthwise2d_{padding}", (9, 8, 3), lambda p=padding: layers.DepthwiseConv2D(3, 2, p, 2))
    layered(f"separable2d_{padding}", (9, 8, 3), lambda p=padding: layers.SeparableConv2D(4, 3, 1, p))
    layered(f"conv2dt_{padding}", (4, 5, 3), lambda p=padding: layers.Conv2DTranspose(4, 3, 2, p))
    layered(f"conv1dt_{padding}", (5, 3), lambda p=padding: layers.Conv1DTranspose(4, 3, 2, p))
    layered(f"maxpool2d_{padding}", (9, 8, 3), lambda: layers.Conv2D(2, 2), lambda p=padding: layers.MaxPooling2D(3, 2, p))
    layered(f"avgpool2d_{padding}", (9, 8, 3), lambda: layers.Conv2D(2, 2), lambda p=padding: layers.AveragePooling2D(3, 2, p))
    layered(f"pool1d_{padding}", (9, 3), lambda: layers.Conv1D(4, 2), lambda p=padding: layers.MaxPooling1D(2, None, p),
            lambda p=padding: layers.AveragePooling1D(2, None, p))
layered("conv2d_groups", (5, 5, 4), lambda: layers.Conv2D(4, 3, groups=2))
layered("conv1d_causal", (8, 3), lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2))
layered("globals", (5, 4, 3), lambda: layers.Conv2D(4, 2), lambda: layers.GlobalMaxPooling2D())
layered("global_average", (5, 4, 3), lambda: layers.Conv2D(4, 2), lambda: layers.GlobalAveragePooling2D())
layered("moves", (4, 6), lambda: layers.Dense(6), lambda: layers.Permute((2, 1)), lambda: layers.Reshape((2, 12)),
        lambda: layers.RepeatVector(3) if False else layers.ZeroPadding1D(1), lambda: layers.Cropping1D((1, 0)),
        lambda: layers.UpSampling1D(2))
layered("repeat", (6,), lambda: layers.Dense(4), lambda: layers.RepeatVector(3))
layered("images", (4, 5, 2), lambda: layers.Conv2D(2, 1), lambda: layers.ZeroPadding2D(1), lambda: layers.Cropping2D(1),
        lambda: layers.UpSampling2D(2), lambda: layers.UpSampling2D(2, interpolation="bilinear"))
for name in ("relu", "elu", "selu", "gelu", "silu", "softplus", "softsign", "tanh", "sigmoid", "exponential", "mish",
             "hard_sigmoid", "hard_silu", "leaky_relu", "relu6", "log_softmax", "softmax", "log_sigmoid", "celu", "glu",
             "tanh_shrink", "soft_shrink", "hard_shrink", "squareplus", "sparse_plus", "threshold", "hard_tanh", "sparsemax"):
    layered(f"activation_{name}", (6,), lambda n=name: layers.Dense(8, n))
layered("prelu", (6,), lambda: layers.Dense(8), lambda: layers.PReLU(alpha_initializer="uniform"))
layered("leaky", (6,), lambda: layers.Dense(8), lambda: layers.LeakyReLU(0.2), lambda: layers.ELU(0.5))
layered("embedding", (4,), lambda: layers.Embedding(7, 3, mask_zero=True), lambda: layers.GlobalAveragePooling1D(), dtype="int32")
for name in ("SimpleRNN", "LSTM", "GRU"):
    rnn = getattr(layers, name)
    layered(f"{name.lower()}", (5, 3), lambda r=rnn: r(4))
    layered(f"{name.lower()}_sequences", (5, 3), lambda r=rnn: r(4, return_sequences=True, go_backwards=True))
    layered(f"{name.lower()}_unroll", (5, 3), lambda r=rnn: r(4, unroll=True))
    layered(f"{name.lower()}_dynamic", (None, 3), lambda r=rnn: r(4))
    layered(f"{name.lower()}_dynamic_masked", (None,), lambda: layers.Embedding(7, 3, mask_zero=True),
            lambda r=rnn: r(4, return_sequences=True, dropout=0.2, seed=5), lambda r=rnn: layers.Bidirectional(r(3)),
            dtype="int32", optimizer="adam") if name != "SimpleRNN" else None
    layered(f"{name.lower()}_long", (400, 3), lambda r=rnn: r(4, return_sequences=True),
            lambda: layers.GlobalAveragePooling1D())
    layered(f"{name.lower()}_masked", (5,), lambda: layers.Embedding(7, 3, mask_zero=True), lambda r=rnn: r(4), dtype="int32")
    # The config of SimpleRNN does not have its seed.
    dropping = (lambda *a, **b: layers.RNN(layers.SimpleRNNCell(*a, **b))) if name == "SimpleRNN" else rnn
    layered(f"{name.lower()}_dropout", (5, 3), lambda r=dropping: r(4, dropout=0.3, recurrent_dropout=0.2, seed=8))
    layered(f"{name.lower()}_bidirectional", (5, 3), lambda r=rnn: layers.Bidirectional(r(4)), optimizer="adam")
    layered(f"{name.lower()}_dropout_inputs", (5, 3), lambda r=dropping: layers.Bidirectional(r(4, dropout=0.3, seed=8)))
layered("rnn_dropout_cells", (5, 3), lambda: layers.RNN([
    layers.LSTMCell(4, dropout=0.3, recurrent_dropout=0.2, seed=1), layers.GRUCell(3, recurrent_dropout=0.3, seed=2),
    layers.SimpleRNNCell(4, dropout=0.2, seed=3)]))
layered("convlstm_dropout", (3, 5, 5, 2), lambda: layers.ConvLSTM2D(3, 3, dropout=0.2, recurrent_dropout=0.3, seed=4))
layered("gru_before_dropout", (5, 3), lambda: layers.GRU(4, reset_after=False, dropout=0.2, recurrent_dropout=0.2, seed=4))
layered("gru_before", (5, 3), lambda: layers.GRU(4, reset_after=False))
layered("lstm_stacked", (5, 3), lambda: layers.LSTM(4, return_sequences=True), lambda: layers.LSTM(3))
layered("rnn_cells", (5, 3), lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)]))
layered("time_distributed", (5, 3), lambda: layers.TimeDistributed(layers.Dense(4, "relu")))
layered("time_distributed_dynamic", (None, 3), lambda: layers.TimeDistributed(layers.Dense(4, "relu")),
        lambda: layers.GlobalAveragePooling1D())
layered("convlstm", (3, 5, 5, 2), lambda: layers.ConvLSTM2D(3, 3))
layered("einsum_dense", (4, 6), lambda: layers.EinsumDense("abc,cd->abd", (4, 5), bias_axes="d"))
layered("spectral", (6,), lambda: layers.SpectralNormalization(layers.Dense(5)))


@case
def layer_attention():
    q, v = keras.Input((4, 6), name="q"), keras.Input((5, 6), name="v")
    x = layers.MultiHeadAttention(2, 3, dropout=0.2, seed=9)(layers.Dense(6)(q), v)
    x = layers.Attention(use_scale=True)([x, v])
    x = layers.AdditiveAttention()([x, v])
    return compiled(keras.Model([q, v], layers.Dense(2)(layers.Flatten()(x))), "adam")


@case
def layer_attention_masked():
    ids = keras.Input((5,), dtype="int32", name="ids")
    e = layers.Embedding(7, 6, mask_zero=True)(ids)
    x = layers.MultiHeadAttention(2, 3)(e, e, use_causal_mask=True)
    x = layers.LayerNormalization()(layers.Add()([e, x]))
    return compiled(keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))), "adam")


@case
def layer_grouped_attention():
    q = keras.Input((4, 8), name="q")
    return compiled(keras.Model(q, layers.Dense(2)(layers.Flatten()(layers.GroupQueryAttention(3, 4, 2)(q, q)))))


@case
def layer_merges():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    x, y = layers.Dense(4)(a), layers.Dense(4)(b)
    parts = [make()([x, y]) for make in (
        layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate)]
    parts.append(layers.Dot(1, normalize=True)([x, y]))
    return compiled(keras.Model([a, b], layers.Dense(2)(layers.Concatenate()(parts))))


@case
def layer_masked_loss():
    """The mask of the outputs counts in the loss and the metrics."""
    ids = keras.Input((5,), dtype="int32", name="ids")
    x = layers.LSTM(4, return_sequences=True)(layers.Embedding(7, 6, mask_zero=True)(ids))
    return compiled(keras.Model(ids, layers.Dense(3, "softmax")(x)), loss="sparse_categorical_crossentropy", metrics=["accuracy"])


@case
def layer_operations():
    a = keras.Input((4, 6), name="a")
    x = layers.Dense(6)(a)
    x = ops.concatenate([ops.exp(x[:, 1:] / 4.0), ops.square(x[:, :1])], axis=1)
    x = ops.where(x > 0.5, ops.sqrt(ops.abs(x) + 1.0), x / 2.0) + ops.mean(x, axis=-1, keepdims=True)
    x = ops.tanh(ops.transpose(x, (0, 2, 1)) @ ops.tanh(x))
    x = ops.stack([ops.sum(x, axis=1), ops.max(x, axis=1)], axis=1) - ops.power(ops.sigmoid(x[:, 0:2]), 2.0)
    return compiled(keras.Model(a, layers.Dense(2)(ops.reshape(x, (-1, 12)))))


@case
def mixed_precision():
    model = keras.Sequential([
        keras.Input((5,)), layers.Dense(8, "relu", dtype="mixed_float16"), layers.BatchNormalization(dtype="mixed_float16"),
        layers.Dense(2, dtype="float32")])
    return compiled(model, lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01)))


@case
def double_precision():
    return compiled(keras.Sequential([keras.Input((5,), dtype="float64"), layers.Dense(4, "relu", dtype="float64"),
                                      layers.Dense(2, dtype="float64")]), "adam")


def values(random, shape, dtype, name):
    sizes = [BATCH, *(5 if size is None else size for size in shape[1:])]
    if "int" in dtype:
        return random.integers(0, 6, sizes).astype(dtype)
    return random.normal(size=sizes).astype(dtype)


def targets(random, model, name):
    """Targets as the losses take them: class indices, one-hot rows, zeros and ones, or any numbers."""
    shapes = model.output_shape
    names = list(shapes) if isinstance(shapes, dict) else getattr(model, "output_names", ["y"])
    shapes = shapes if isinstance(shapes, (list, dict)) else [shapes]
    given = model._compile_loss._user_loss
    found = {}
    for index, key in enumerate(names):
        shape = shapes[key] if isinstance(shapes, dict) else shapes[index]
        loss = given[key] if isinstance(given, dict) else given[index] if isinstance(given, list) else given
        if loss is None:
            continue
        kind = (loss if isinstance(loss, str) else type(loss).__name__).lower()
        sizes = [BATCH, *(5 if size is None else size for size in shape[1:])]
        if "sparse" in kind or "circle" in kind or "generalized" in kind:
            found[key] = random.integers(0, 3 if "circle" in kind else shape[-1], sizes[:-1]).astype("int64")
            if "circle" in kind or "generalized" in kind:
                found[key] = found[key].astype("float32")
        elif "categorical" in kind or kind in ("crossentropy", "kldivergence", "kld"):
            found[key] = np.eye(shape[-1], dtype="float32")[random.integers(0, shape[-1], sizes[:-1])]
        elif any(word in kind for word in ("binary", "bce", "hinge", "dice", "tversky")):
            found[key] = random.integers(0, 2, sizes).astype("float32")
        else:
            found[key] = random.normal(size=sizes).astype("float32")
            found[key] = np.abs(found[key]) if kind in ("msle", "poisson") else found[key]
    return found


def named_variables(model):
    """All variables by the names that they have in a SavedModel."""
    found = {}
    for weight in model.weights:
        found[f"weights/{weight.path.removeprefix(model.name + '/')}"] = weight.numpy()
    for variable in model.optimizer.variables:
        name, number = variable.name.removeprefix(f"{model.name}_"), 1
        free = name
        while f"optimizer/{free}" in found:
            free, number = f"{name}_{number}", number + 1
        found[f"optimizer/{free}"] = variable.numpy()
    return found


def reset_seeds(model):
    """Sets seeds back, because files do not have them."""
    for layer in model._flatten_layers():
        for generator in layer._seed_generators:
            if generator._initial_seed is not None:
                generator.state.assign([generator._initial_seed, 0])


def make(name, folder):
    keras.utils.set_random_seed(7)
    keras.backend.clear_session()
    model = CASES[name]()
    random = np.random.default_rng(11)
    arrays, steps = {}, []
    inputs = model.inputs
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-2, 4):
        if number == 0:
            model.save(folder / "compiled.keras")
            reset_seeds(model)
        batch = [values(random, tensor.shape, tensor.dtype, name) for tensor in inputs]
        wanted = targets(random, model, name)
        y = wanted if isinstance(model.output_shape, dict) else list(wanted.values())
        y = y[0] if isinstance(y, list) and len(y) == 1 else y
        logs = model.train_on_batch(batch if len(batch) > 1 else batch[0], y, return_dict=True)
        if number < 0:
            continue
        step = {"inputs": {}, "targets": {}, "logs": {key: np.asarray(value).tolist() for key, value in logs.items()}}
        for index, value in enumerate(batch):
            arrays[key := f"{number}.in.{index}"] = value
            step["inputs"][str(index)] = {"dtype": str(value.dtype), "shape": value.shape, "npz": key}
        for output, value in wanted.items():
            arrays[key := f"{number}.y.{output}"] = value
            step["targets"][output] = {"dtype": str(value.dtype), "shape": value.shape, "npz": key}
        steps.append(step)
    np.savez(folder / "io.npz", **arrays)
    np.savez(folder / "after.npz", **named_variables(model))
    loaded = keras.models.load_model(folder / "compiled.keras")
    try:
        loaded.save(folder / "compiled.h5")
    except Exception as error:
        print(f"{name}: no .h5: {str(error)[:100]}")
        (folder / "compiled.h5").unlink(missing_ok=True)
    meta = {"train": {"steps": steps, "threads": 1, "tolerance": {"atol": 2e-5, "rtol": 2e-4}}}
    (folder / "meta.json").write_text(json.dumps(meta))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    arguments = parser.parse_args()
    failed = 0
    for name in CASES:
        if arguments.filter in name:
            try:
                make(name, arguments.cases / name)
            except Exception as error:
                failed += 1
                print(f"{name}: {type(error).__name__}: {str(error)[:300]}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
