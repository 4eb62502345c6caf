"""Write the operations that libtensorflow knows, sorted, one a line: its name and those of its attributes.

What a model uses beyond these, and beyond its own functions, are custom ops:
they need a library of their own (`--op-library`). The list is checked in as

    crates/tf-persist-core/src/saved_model/ops_2_21.txt

and made by

    .venv/bin/python scripts/list_ops.py > crates/tf-persist-core/src/saved_model/ops_2_21.txt

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
    """The numbers and contents of a message's length-delimited fields."""
    position = 0
    while position < len(data):
        tag, position = varint(data, position)
        kind = tag & 7
        if kind == 0:
            _, position = varint(data, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            length, position = varint(data, position)
            yield tag >> 3, data[position : position + length]
            position += length


def ops(folder):
    """The ops of the libtensorflow in a folder, as lines."""
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    library.TF_GetAllOpList.restype = ctypes.POINTER(Buffer)
    buffer = library.TF_GetAllOpList().contents
    op_list = ctypes.string_at(buffer.data, buffer.length)
    # OpList.op is field 1, OpDef.name field 1, OpDef.attr field 4, and AttrDef.name field 1.
    for number, op in fields(op_list):
        if number == 1:
            attributes = (name(content) for number, content in fields(op) if number == 4)
            yield " ".join([name(op), *sorted(attributes)])


def name(message):
    """The text in a message's field 1."""
    return next(content for number, content in fields(message) if number == 1).decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="of libtensorflow_cc.so.2; default: pip's tensorflow")
    folder = parser.parse_args().folder
    if folder is None:
        folder = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
    sys.stdout.writelines(f"{line}\n" for line in sorted(set(ops(folder)), key=lambda line: line.split()))


if __name__ == "__main__":
    main()
