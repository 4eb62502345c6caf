"""Writes the .proto schemas of TensorFlow and TensorFlow Serving as text.

Neither wheel ships its schemas as text, but every generated `_pb2` module
carries the complete descriptor of its file. This script walks those
descriptors, imports included, and prints each one back as proto source.
Comments are lost on the way; names, numbers, types and the options that
matter to a code generator are not. One thing is changed: a file that only
forwards to another by `import public` is left out, and those who import it
import what it forwards to. TensorFlow keeps two such files where things moved
to XLA, under the same base names, which would collide as Rust modules.

It needs a Python that can import these two wheels:

    tensorflow-cpu == 2.21.0
    tensorflow-serving-api == 2.21.0    (install it with --no-deps)

`scripts/gen_protos --protos` provides both and calls this script. By hand:

    python python/generate/dump_protos.py crates/tf-persist-proto/protos

Files that are in neither wheel are left as they are: see HAND_WRITTEN.
"""

import argparse
import importlib
import importlib.metadata
import json
import pathlib
import sys

from google.protobuf import descriptor_pb2

VERSIONS = {"tensorflow-cpu": "2.21.0", "tensorflow-serving-api": "2.21.0"}

# The files to start from; their imports are written too.
ROOTS = [
    "tensorflow.core.example.example_pb2",
    "tensorflow.core.framework.graph_debug_info_pb2",
    "tensorflow.core.protobuf.config_pb2",
    "tensorflow.core.protobuf.fingerprint_pb2",
    "tensorflow.core.protobuf.named_tensor_pb2",
    "tensorflow.core.protobuf.saved_model_pb2",
    "tensorflow.core.protobuf.saved_object_graph_pb2",
    "tensorflow.core.protobuf.tensor_bundle_pb2",
    "tensorflow.core.protobuf.trackable_object_graph_pb2",
    "tensorflow.python.training.checkpoint_state_pb2",
    "tensorflow_serving.apis.get_model_metadata_pb2",
    "tensorflow_serving.apis.model_service_pb2",
    "tensorflow_serving.apis.prediction_log_pb2",
    "tensorflow_serving.apis.prediction_service_pb2",
    "tensorflow_serving.apis.session_service_pb2",
    "tensorflow_serving.config.model_server_config_pb2",
    "tensorflow_serving.config.platform_config_pb2",
]

# Configuration of the model server binary, which the Python API leaves out, and another protocol.
HAND_WRITTEN = [
    "open_inference/grpc_service.proto",
    "tensorflow_serving/config/monitoring_config.proto",
    "tensorflow_serving/config/ssl_config.proto",
    "tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter.proto",
    "tensorflow_serving/servables/tensorflow/session_bundle_config.proto",
]

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in Field.Type.items()}
LABELS = {Field.LABEL_REQUIRED: "required ", Field.LABEL_REPEATED: "repeated "}


def type_name(field):
    """The type of a field as written in source: a scalar, or a full name with its leading dot."""
    if field.type == Field.TYPE_GROUP:
        raise ValueError(f"{field.name}: groups are not supported")
    return field.type_name or SCALARS[field.type]


def quoted(text):
    """A string literal; proto and JSON agree on the escapes that occur here."""
    return json.dumps(text)


def options(field):
    """The bracketed options behind a field, or nothing."""
    found = []
    if field.HasField("default_value"):
        literal = quoted(field.default_value) if field.type == Field.TYPE_STRING else field.default_value
        found.append(f"default = {literal}")
    if field.options.HasField("packed"):
        found.append(f"packed = {str(field.options.packed).lower()}")
    if field.options.deprecated:
        found.append("deprecated = true")
    return f" [{', '.join(found)}]" if found else ""


def label(field, syntax):
    """The word in front of a field outside a oneof; a proto3 singular field has none."""
    if field.label != Field.LABEL_OPTIONAL:
        return LABELS[field.label]
    return "optional " if syntax == "proto2" or field.proto3_optional else ""


def reserved(numbers, names):
    """The `reserved` lines of a message or an enum; `numbers` are pairs with both ends included."""
    if numbers:
        spans = (str(first) if first == last else f"{first} to {last}" for first, last in numbers)
        yield f"reserved {', '.join(spans)};"
    if names:
        yield f"reserved {', '.join(map(quoted, names))};"


def block(head, lines):
    """A braced block with its lines indented."""
    yield f"{head} {{"
    for line in lines:
        yield f"  {line}"
    yield "}"


def enum_lines(enum):
    """The source of an enum."""

    def body():
        if enum.options.allow_alias:
            yield "option allow_alias = true;"
        yield from reserved([(r.start, r.end) for r in enum.reserved_range], enum.reserved_name)
        for value in enum.value:
            note = " [deprecated = true]" if value.options.deprecated else ""
            yield f"{value.name} = {value.number}{note};"

    return block(f"enum {enum.name}", body())


def message_lines(message, scope, syntax):
    """The source of a message, with everything nested in it. `scope` is the full name of its parent."""
    full_name = f"{scope}.{message.name}"
    maps = {f"{full_name}.{nested.name}": nested for nested in message.nested_type if nested.options.map_entry}
    # `optional` in proto3 is stored as a oneof with a single member, which is not one in the source.
    synthetic = {field.oneof_index for field in message.field if field.proto3_optional}

    def field_line(field, word):
        tail = f"{field.name} = {field.number}{options(field)};"
        if field.type_name in maps:
            key, value = maps[field.type_name].field
            return f"map<{type_name(key)}, {type_name(value)}> {tail}"
        return f"{word}{type_name(field)} {tail}"

    def in_oneof(field):
        return field.HasField("oneof_index") and field.oneof_index not in synthetic

    def body():
        # The end of a message's reserved range is excluded, unlike that of an enum's.
        yield from reserved([(r.start, r.end - 1) for r in message.reserved_range], message.reserved_name)
        for span in message.extension_range:
            yield f"extensions {span.start} to {span.end - 1};"
        for enum in message.enum_type:
            yield from enum_lines(enum)
        for nested in message.nested_type:
            if not nested.options.map_entry:
                yield from message_lines(nested, full_name, syntax)
        written = set()
        for field in message.field:
            if not in_oneof(field):
                yield field_line(field, label(field, syntax))
            elif field.oneof_index not in written:
                written.add(field.oneof_index)
                members = [f for f in message.field if in_oneof(f) and f.oneof_index == field.oneof_index]
                name = message.oneof_decl[field.oneof_index].name
                yield from block(f"oneof {name}", [field_line(member, "") for member in members])

    return block(f"message {message.name}", body())


def service_lines(service):
    """The source of a gRPC service."""

    def side(name, streams):
        return f"({'stream ' if streams else ''}{name})"

    def body():
        for rpc in service.method:
            request = side(rpc.input_type, rpc.client_streaming)
            answer = side(rpc.output_type, rpc.server_streaming)
            yield f"rpc {rpc.name}{request} returns {answer};"

    return block(f"service {service.name}", body())


def is_forwarder(file):
    """Whether a file holds nothing but `import public`."""
    content = file.message_type or file.enum_type or file.service or file.extension
    return not content and len(file.public_dependency) == len(file.dependency) > 0


def imports(file, files):
    """The imports of a file as (`public ` or nothing, name), looking through forwarders."""
    for index, name in enumerate(file.dependency):
        word = "public " if index in file.public_dependency else ""
        target = files.get(name)
        if target and is_forwarder(target):
            yield from ((word, behind) for _, behind in imports(target, files))
        else:
            yield word, name


def file_lines(file, files):
    """The source of a whole file; `files` are all of them, by name."""
    syntax = file.syntax or "proto2"
    if syntax not in ("proto2", "proto3") or file.extension:
        raise ValueError(f"{file.name}: only proto2 and proto3 without extensions are supported")
    yield f'syntax = "{syntax}";'
    yield ""
    yield f"package {file.package};"
    if file.dependency:
        yield ""
    for word, name in dict.fromkeys(imports(file, files)):
        yield f'import {word}"{name}";'
    for enum in file.enum_type:
        yield ""
        yield from enum_lines(enum)
    for message in file.message_type:
        yield ""
        yield from message_lines(message, f".{file.package}", syntax)
    for service in file.service:
        yield ""
        yield from service_lines(service)


def collect(descriptor, found):
    """Gather a file and its imports into `found`, by name. Google's well-known types come with any generator."""
    if descriptor.name in found or descriptor.name.startswith("google/protobuf/"):
        return
    file = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(file)
    found[descriptor.name] = file
    for dependency in descriptor.dependencies:
        collect(dependency, found)


def check_versions():
    """Stop where the installed wheels are not the ones the checked-in schemas were made from."""
    for wheel, wanted in VERSIONS.items():
        try:
            version = importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            sys.exit(f"{wheel} is not installed; the schemas are made from {wheel}=={wanted}")
        if version != wanted:
            sys.exit(f"{wheel} {version} is installed; the schemas are made from {wheel}=={wanted}")


def main():
    """Write every file under the directory that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path, help="directory to write into, created where missing")
    out = parser.parse_args().out
    check_versions()

    found = {}
    for module in ROOTS:
        collect(importlib.import_module(module).DESCRIPTOR, found)
    if arrived := [name for name in HAND_WRITTEN if name in found]:
        sys.exit(f"now in a wheel, so take them out of HAND_WRITTEN: {', '.join(arrived)}")

    written = {name: file for name, file in sorted(found.items()) if not is_forwarder(file)}
    for name, file in written.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(file_lines(file, found)) + "\n", encoding="utf-8")
    expected = set(written) | set(HAND_WRITTEN)
    for path in sorted(out.rglob("*.proto")):
        if path.relative_to(out).as_posix() not in expected:
            print(f"stale, delete it: {path}", file=sys.stderr)
    print(f"{len(written)} files")


if __name__ == "__main__":
    main()
