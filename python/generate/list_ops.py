"""Writes the operations of libtensorflow, sorted, one a line: its name and those of its attributes.

What a model uses beyond these, and beyond its own functions, are custom ops:
they need a library of their own (`--op-library`). The list is checked in as

    crates/tf-persist-savedmodel/src/ops/ops_2_21.txt

and made by

    .venv/bin/python python/generate/list_ops.py > crates/tf-persist-savedmodel/src/ops/ops_2_21.txt

With --outputs each line has the dtypes of the op's outputs instead: `#1` is the dtype of this number, `T` the one in the attribute `T`, `T=9`
the same with a default, `T*N` is repeated as often as `N` says, and `[Tout]` is a list in an attribute:

    .venv/bin/python python/generate/list_ops.py --outputs > crates/tf-persist-savedmodel/src/ops/op_outputs_2_21.txt

With --facts each line has what the tests of the catalogue of ops need: `stateful`, `takes_reference` (to a variable),
`takes_text_reference` (to a table, a queue and the like), `gives_reference`. Ops of which nothing is true are left out:

    .venv/bin/python python/generate/list_ops.py --facts > crates/tf-persist-savedmodel/src/ops/op_facts_2_21.txt

With --names each line has the names of the op's outputs, `*` behind those that are lists:

    .venv/bin/python python/generate/list_ops.py --names > crates/tf-persist-savedmodel/src/ops/op_output_names_2_21.txt

The library is opened by itself, through ctypes: importing the tensorflow
package would register ops that only Python has.
"""

import argparse
import ctypes
import importlib.util
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Buffer(ctypes.Structure):
    """TF_Buffer of tensorflow/c/tf_buffer.h."""

    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


def varint(data, position):
    """The number at a position, and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def fields(data):
    """The numbers and contents of a message's fields of integers and of bytes."""
    position = 0
    while position < len(data):
        tag, position = varint(data, position)
        kind = tag & 7
        if kind == 0:
            value, position = varint(data, position)
            yield tag >> 3, value
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            length, position = varint(data, position)
            yield tag >> 3, data[position : position + length]
            position += length


def ops(folder, line):
    """The ops of the libtensorflow in a folder, as lines."""
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    library.TF_GetAllOpList.restype = ctypes.POINTER(Buffer)
    buffer = library.TF_GetAllOpList().contents
    op_list = ctypes.string_at(buffer.data, buffer.length)
    # OpList.op is field 1.
    yield from filter(None, (line(op) for number, op in fields(op_list) if number == 1))


def attributes(op):
    """An op's name and those of its attributes. OpDef.name is field 1, OpDef.attr field 4, and AttrDef.name field 1."""
    return " ".join([name(op), *sorted(name(content) for number, content in fields(op) if number == 4)])


def outputs(op):
    """An op's name and the dtypes of its outputs; None if it has none. OpDef.output_arg is field 3."""
    types = [output(dict(fields(content)), op) for number, content in fields(op) if number == 3]
    return " ".join([name(op), *types]) if types else None


def output(argument, op):
    """The dtype of one output. Of ArgDef, type is field 3, type_attr 4, number_attr 5 and type_list_attr 6."""
    if 6 in argument:
        return f"[{argument[6].decode()}]"
    dtype = with_default(argument[4].decode(), op) if 4 in argument else f"#{argument[3]}"
    return f"{dtype}*{argument[5].decode()}" if 5 in argument else dtype


def output_names(op):
    """An op's name and the names of its outputs; None if it has none. Lists have a number_attr (5) or type_list_attr (6)."""
    arguments = [dict(fields(content)) for number, content in fields(op) if number == 3]
    names = [argument[1].decode() + ("*" if 5 in argument or 6 in argument else "") for argument in arguments]
    return " ".join([name(op), *names]) if names else None


def with_default(attribute, op):
    """An attribute with the dtype that it has by default. AttrDef.default_value is field 3, AttrValue.type field 6."""
    found = (dict(fields(content)) for number, content in fields(op) if number == 4)
    default = next(dict(fields(it.get(3, b""))) for it in found if it[1].decode() == attribute)
    return f"{attribute}={default[6]}" if 6 in default else attribute


TEXT = 7


def facts(op):
    """An op's name and what is true of it; None if nothing is.

    OpDef.input_arg is field 2, output_arg field 3, is_stateful field 17. Of ArgDef, type is field 3, type_attr 4, is_ref 16.
    """
    inputs, outputs = ([dict(fields(content)) for number, content in fields(op) if number == wanted] for wanted in (2, 3))
    references = [argument for argument in inputs if argument.get(16)]
    found = {
        "stateful": dict(fields(op)).get(17),
        "takes_reference": any(argument.get(3) != TEXT for argument in references),
        "takes_text_reference": any(argument.get(3) == TEXT for argument in references),
        "gives_reference": not references and any(argument.get(16) and 4 in argument for argument in outputs),
    }
    true = [fact for fact, holds in found.items() if holds]
    return " ".join([name(op), *true]) if true else None


def name(message):
    """The text in a message's field 1."""
    return next(content for number, content in fields(message) if number == 1).decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="of libtensorflow_cc.so.2; default: pip's tensorflow")
    parser.add_argument("--outputs", action="store_true", help="dtypes of outputs instead of attributes")
    parser.add_argument("--names", action="store_true", help="names of outputs instead of attributes")
    parser.add_argument("--facts", action="store_true", help="state and references instead of attributes")
    arguments = parser.parse_args()
    chosen = [(arguments.outputs, outputs), (arguments.names, output_names), (arguments.facts, facts), (True, attributes)]
    folder, line = arguments.folder, next(line for wanted, line in chosen if wanted)
    if folder is None:
        folder = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
    sys.stdout.writelines(f"{line}\n" for line in sorted(set(ops(folder, line)), key=lambda line: line.split()))


if __name__ == "__main__":
    main()
