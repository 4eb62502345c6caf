"""Meta graphs, signatures and variables of a SavedModel, read with TensorFlow's own protobufs and checkpoint reader."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from .entries import SPARSE_PARTS

ASSETS_COLLECTION = "saved_model_assets"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
REF_DTYPES_START = 100
"""A TensorInfo of a reference variable has the number of its element type plus this."""


def meta_graphs(folder: Path) -> list[dict[str, Any]]:
    """Tags, writing version, sizes, initialisers, assets and signatures of each meta graph."""
    return [
        {
            "tags": sorted(graph.meta_info_def.tags),
            "tf": graph.meta_info_def.tensorflow_version,
            "nodes": len(graph.graph_def.node),
            "functions": len(graph.graph_def.library.function),
            "init": [name for name in INIT_COLLECTIONS if name in graph.collection_def],
            "assets": [asset.filename for asset in assets(graph)],
            "signatures": {key: _signature(graph.signature_def[key]) for key in sorted(graph.signature_def)},
        }
        for graph in _parse(folder).meta_graphs
    ]


def assets(meta_graph: Any) -> list[Any]:
    """The AssetFileDefs; the v1 builder has them in a collection, packed."""
    if meta_graph.asset_file_def:
        return list(meta_graph.asset_file_def)
    packed = meta_graph.collection_def[ASSETS_COLLECTION].any_list.value
    return [meta_graph_pb2.AssetFileDef.FromString(item.value) for item in packed]


def variables(folder: Path) -> dict[str, list[Any]]:
    """`[dtype, shape]` of everything in the checkpoint, by name."""
    prefix = folder / "variables" / "variables"
    if not prefix.with_suffix(".index").exists():
        return {}
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    return {name: [dtypes[name].name, shapes[name]] for name in sorted(shapes)}


def _parse(folder: Path) -> saved_model_pb2.SavedModel:
    message = saved_model_pb2.SavedModel()
    text = folder / "saved_model.pbtxt"
    if text.exists():
        return text_format.Parse(text.read_text(), message)
    message.ParseFromString((folder / "saved_model.pb").read_bytes())
    return message


def _signature(definition: Any) -> dict[str, Any]:
    return {
        "method": definition.method_name,
        "inputs": {key: _tensor(definition.inputs[key]) for key in sorted(definition.inputs)},
        "outputs": {key: _tensor(definition.outputs[key]) for key in sorted(definition.outputs)},
    }


def _tensor(info: Any) -> list[Any]:
    """`[dtype, shape or "unknown", tensor name]`; a sparse tensor has three names, by part."""
    shape = "unknown" if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]
    dtype = tf.as_dtype(info.dtype % REF_DTYPES_START).name if info.dtype else "INVALID"
    if info.WhichOneof("encoding") != "coo_sparse":
        return [dtype, shape, info.name]
    return [dtype, shape, {part: getattr(info.coo_sparse, f"{part}_tensor_name") for part in SPARSE_PARTS}]
