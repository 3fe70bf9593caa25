"""Lays out what travels to a machine with a GPU: programs, networks, cases of operators, pictures, and the script itself."""

import gzip
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

MOST_BYTES = 60_000_000
PROGRAMS = ("proofload-daemon", "proofload")
PICTURES = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "rocket.jpg")


def pack(root, folder, binaries):
    """Makes the folder; gives the exit code."""
    missing = [name for name in ("numpy", "onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"gpu-check --pack needs the Python packages {', '.join(missing)}: run it with an interpreter that has scripts/conformance/requirements.txt", file=sys.stderr)
        return 2
    if folder.exists() and any(folder.iterdir()) and not (folder / "gpu-check").exists():
        print(f"gpu-check --pack: {folder} has something else in it; name an empty folder or one that was packed before", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    binaries = binaries.resolve() if binaries else built(root)
    programs(folder, binaries)
    script(root, folder)
    networks(root, folder / "networks")
    print(f"cases: {cases(root, folder / 'cases.zip', binaries / 'examples' / 'plan_twin')}")
    (folder / "pictures").mkdir()
    for name in PICTURES:
        shutil.copy2(root / "scenarios" / "payloads" / name, folder / "pictures" / name)
    return weigh(folder)


def weigh(folder):
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    total = sum(sizes.values())
    for part in sorted({path.relative_to(folder).parts[0] for path in sizes}):
        size = sum(size for path, size in sizes.items() if path.relative_to(folder).parts[0] == part)
        print(f"{size / 1e6:8.2f} MB  {part}")
    print(f"{total / 1e6:8.2f} MB in {len(sizes)} files in {folder}")
    if total > MOST_BYTES:
        print(f"gpu-check --pack: that is more than {MOST_BYTES / 1e6:.0f} MB", file=sys.stderr)
        return 1
    return 0


def built(root):
    """Builds all, as the tests do, so that nothing is built twice with other features."""
    subprocess.run(["cargo", "build", "--release", "--workspace", "--bins", "--examples"], cwd=root, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release"


def programs(folder, binaries):
    """Stripped and compressed; and which C library they need."""
    (folder / "bin").mkdir()
    needed = set()
    with tempfile.TemporaryDirectory() as place:
        for name in PROGRAMS:
            if not (binaries / name).exists():
                continue
            stripped = pathlib.Path(place) / name
            subprocess.run(["strip", "-o", stripped, binaries / name], check=True)
            needed |= set(re.findall(rb"GLIBC_(\d+\.\d+)", stripped.read_bytes()))
            with open(stripped, "rb") as plain, gzip.open(folder / "bin" / f"{name}.gz", "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed)
    newest = max((tuple(map(int, version.split(b"."))) for version in needed), default=(0, 0))
    (folder / "glibc").write_text(".".join(map(str, newest)) + "\n")


def script(root, folder):
    shutil.copy2(root / "scripts" / "gpu-check", folder / "gpu-check")
    shutil.copytree(root / "scripts" / "gpucheck", folder / "gpucheck", ignore=shutil.ignore_patterns("__pycache__"))


def networks(root, folder):
    """The relief network: as it is, with a picture in bytes as its input, and for PyTorch's side."""
    import onnx

    folder.mkdir()
    model, origin = relief_network(root)
    print(f"network: {origin}")
    (folder / "origin.txt").write_text(origin + "\n")
    (folder / "relief.onnx").write_bytes(model.SerializeToString())
    describe(model, folder / "relief")
    taken = in_bytes(model)
    onnx.checker.check_model(taken)
    (folder / "relief_bytes.onnx").write_bytes(taken.SerializeToString())


def relief_network(root):
    """The one that is served, if it is a network: else one of the same form that has learned nothing, which computes as long."""
    import onnx

    served = root / "daemon" / "models" / "relief_depth" / "1" / "model.onnx"
    model = onnx.load(served)
    if any(node.op_type == "ConvTranspose" for node in model.graph.node):
        return model, f"the one that is served, {served.stat().st_size} bytes"
    sys.path.insert(0, str(root / "daemon" / "models" / "relief" / "train"))
    import export
    import layers
    import numpy as np

    begun = {name: dict(layer) for name, layer in layers.initial(7).items()}
    for layer in begun.values():
        layer["kernel"] = layer["kernel"] * np.float32(0.8)
    begun["head"]["kernel"] *= 5
    return export.build(begun), "untrained, of the form that is trained: what is served is no network"


def in_bytes(model):
    """The same model of pictures in bytes."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    changed = onnx.ModelProto.FromString(model.SerializeToString())
    graph = changed.graph
    (image,) = graph.input
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == image.name:
                node.input[at] = "light"
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "of_a_byte"))
    cast = helper.make_node("Cast", [image.name], ["wide"], name="wide", to=TensorProto.FLOAT)
    scale = helper.make_node("Mul", ["wide", "of_a_byte"], ["light"], name="light")
    nodes = [cast, scale, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    image.type.tensor_type.elem_type = TensorProto.UINT8
    return changed


def describe(model, path):
    """A model without ONNX's own format, for a machine that may not have the package."""
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
            continue
        plain = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
        nodes.append({"operator": node.op_type, "inputs": list(node.input), "outputs": list(node.output), "attributes": plain})
    described = {"inputs": [port.name for port in graph.input], "outputs": [port.name for port in graph.output], "nodes": nodes}
    path.with_suffix(".json").write_text(json.dumps(described))
    np.savez(path.with_suffix(".npz"), **constants)


def cases(root, file, twin):
    """The cases of plans_check.py, each a model that the daemon can load; those without an input, or with one without
    dimensions, cannot be asked over the protocol."""
    if not twin.exists():
        return f"none, because {twin} is not built"
    sys.path.insert(0, str(root / "scripts" / "conformance"))
    import plans_check

    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        wrote = [write_case(place, name, *case) for name, *case in plans_check.for_a_gpu(str(twin))]
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(place.rglob("*")):
                packed.write(path, path.relative_to(place))
    return f"{sum(wrote)} written, {len(wrote) - sum(wrote)} cannot be asked over the protocol"


def write_case(place, name, model, inputs, expected):
    import numpy as np

    graph = model.graph
    arrays = [np.asarray(array) for array in [*inputs, *expected]]
    ports = [*graph.input, *graph.output]
    if not inputs or len(ports) != len(arrays) or any(array.ndim == 0 or array.size == 0 or type_of(array) is None for array in arrays):
        return False
    folder = place / f"{sum(1 for _ in place.iterdir()):04}_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')[:60]}"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(model.SerializeToString())
    described = lambda port, array: f'{{ name: "{port.name}" data_type: TYPE_{type_of(array)} dims: [ {", ".join(["-1"] * array.ndim)} ] }}\n'
    config = "max_batch_size: 0\ninstance_group { kind: KIND_AUTO count: 1 }\n"
    config += "".join(f"input {described(port, array)}" for port, array in zip(graph.input, inputs))
    config += "".join(f"output {described(port, np.asarray(array))}" for port, array in zip(graph.output, expected))
    (folder / "config.pbtxt").write_text(config)
    names = {"inputs": [port.name for port in graph.input], "outputs": [port.name for port in graph.output]}
    (folder / "ports.json").write_text(json.dumps(names))
    np.savez(folder / "case.npz", **{f"input_{at}": array for at, array in enumerate(inputs)}, **{f"output_{at}": array for at, array in enumerate(expected)})
    return True


def type_of(array):
    import numpy as np

    names = {"float32": "FP32", "float16": "FP16", "int32": "INT32", "int64": "INT64", "int8": "INT8", "uint8": "UINT8", "bool": "BOOL"}
    return names.get(np.asarray(array).dtype.name)
