"""Writes the files of this folder with h5py 3.14: the same tree in the oldest and in the newest form of the format."""

import pathlib

import h5py
import numpy as np

FOLDER = pathlib.Path(__file__).parent


def fill(file):
    numbers = np.arange(60, dtype="f4").reshape(3, 4, 5)
    file["plain"] = numbers
    file.create_dataset("deflated", data=numbers, chunks=(2, 2, 5), compression="gzip", shuffle=True, fletcher32=True)
    file["half"] = np.array([0.5, -2.0], ">f2")
    file["big"] = np.array([[1, -2], [3, 1 << 40]], ">i8")
    file["bools"] = np.array([True, False])
    file["brain"] = np.array([0x3F80, 0xC040], "u2").view("V2")
    file["brain"].attrs["dtype"] = "bfloat16"
    file["texts"] = np.array(["a", "zwölf", ""], dtype=object)
    file["fixed"] = np.array([b"a", b"bcd"])
    file["compound"] = np.zeros(2, [("re", "f4"), ("im", "f4")])
    file["layers/dense/vars/0"] = np.float64(0.25)
    file.attrs["name"] = "é"
    file.attrs["bytes"] = np.bytes_(b"fixed")
    file.attrs["names"] = np.array([b"a", b"bcd"])
    file.attrs["big"] = np.array([1.5, -1.0], ">f8")
    file.attrs["empty"] = []
    for number in range(10):
        file["layers/dense"].attrs[f"list{number}"] = [str(number)]


for version in ("earliest", "latest"):
    with h5py.File(FOLDER / f"{version}.h5", "w", libver=version) as file:
        fill(file)
