"""The whole state of a model, every variable once.

A `tf.Module` tracks the plain `tf.Variable`s inside Keras's variables. Were it to track those, the layers or the
optimizer, TensorFlow would save separate copies of them, which the signatures do not train.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

GROUPS = ("weights", "seeds", "optimizer", "metrics", "other")
"""`other` is what the signatures use and Keras does not list, such as the seed that layers without a seed share."""

Tree = dict[str, Any]


class State(tf.Module):
    """The variables as nested dicts, by group and by Keras's path; and the lookup tables of text layers."""

    def __init__(self, model: keras.Model, functions: Sequence[Any], trains: bool) -> None:
        super().__init__()
        self.counts = dict.fromkeys(GROUPS, 0)
        self.tables = _tables(model)
        seen: set[int] = set()
        trees: dict[str, Tree] = {group: {} for group in GROUPS}
        for group, path, variable in _variables(model, functions, trains):
            if id(variable) not in seen:
                seen.add(id(variable))
                _put(trees[group], _parts(model, path), variable)
                self.counts[group] += 1
        for group, tree in trees.items():
            if tree:
                setattr(self, group, tree)


def _variables(
    model: keras.Model, functions: Sequence[Any], trains: bool
) -> Iterator[tuple[str, str, tf.Variable]]:
    """Group, path and variable; some occur twice, first in their own group.

    Keras numbers optimizers and seed generators as they are made (`adam_1`, `seed_generator_7`); the paths are without
    that, so that a model has the same names whenever it is exported.

    Without training, the optimizer and the metrics stay away, and so do the seeds, unless a function uses them.
    """
    weights = {id(weight) for weight in model.weights}
    used = {id(variable) for function in functions for variable in function.graph.variables}
    owners = {
        id(generator.state): layer.name for layer in model._flatten_layers() for generator in layer._seed_generators
    }
    for variable in model.variables:
        if id(variable) in weights:
            yield "weights", variable.path, variable.value
        elif trains or id(variable.value) in used:
            yield "seeds", f"{owners.get(id(variable), model.name)}/{variable.name}", variable.value
    if trains:
        for variable in model.optimizer.variables:
            yield "optimizer", variable.name.removeprefix(f"{model.name}_"), variable.value
        for variable in model.metrics_variables:
            yield "metrics", variable.path, variable.value
    for function in functions:
        for variable in function.graph.variables:
            yield "other", variable.name.split(":")[0], variable


def _parts(model: keras.Model, path: str) -> list[str]:
    """The path without the model's own name at the start."""
    parts = [part for part in path.split("/") if part]
    return parts[1:] if len(parts) > 1 and parts[0] == model.name else parts


def _put(tree: Tree, parts: list[str], variable: tf.Variable) -> None:
    """Adds the variable to the tree; if its name is taken, a number is appended."""
    *folders, name = parts
    for folder in folders:
        below = tree.setdefault(folder, {})
        if not isinstance(below, dict):
            below = tree.setdefault(f"{folder}_", {})
        tree = below
    free, number = name, 1
    while free in tree:
        free, number = f"{name}_{number}", number + 1
    tree[free] = variable


def _tables(model: keras.Model) -> list[Any]:
    """The lookup tables of layers that have one (StringLookup and similar, TextVectorization)."""
    tables: dict[int, Any] = {}
    for layer in model._flatten_layers():
        for owner in (layer, getattr(layer, "_lookup_layer", None)):
            table = getattr(owner, "lookup_table", None)
            if table is not None:
                tables[id(table)] = table
    return list(tables.values())
