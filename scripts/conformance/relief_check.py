#!/usr/bin/env python3
"""Checks the relief service of a running daemon with real photographs and a mesh library that is not ours.

Every photograph in every format must come back as a closed solid, whatever way it is sent; what is wrong must be
refused with the right status and a message. One line for each check; the exit code is 1 when any failed.

Usage: relief_check.py URL [PICTURES]      URL such as http://127.0.0.1:8000
"""

import base64
import io
import json
import pathlib
import random
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request
import zlib

import numpy as np
import trimesh

MEDIA_TYPES = {"stl": "model/stl", "obj": "model/obj", "ply": "application/ply"}
PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}
JSON = "application/json"
PHASES = ["queue", "copy-in", "compute", "copy-out"]
BOUNDARY = "relief-check-boundary"


class Checks:
    def __init__(self):
        self.failed = 0

    def that(self, holds, what):
        print(f"{'ok  ' if holds else 'FAIL'}  {what}")
        self.failed += not holds


class Service:
    def __init__(self, url):
        self.url = url.rstrip("/")

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read()

    def post(self, body, content_type, path="generate-3d", accept="*/*", **parameters):
        """Status, headers and body; errors too."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        request = urllib.request.Request(url, body, {"content-type": content_type, "accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def served(self):
        """Successes of the depth model, and of the relief service."""
        model = json.loads(self.get("/v2/models/relief_depth/stats"))["model_stats"][0]
        wanted = 'proofload_relief_requests_total{outcome="success"} '
        lines = self.get("/metrics").decode().splitlines()
        own = sum(int(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))
        return model["inference_stats"]["success"]["count"], own


def form(fields, picture):
    """A multipart form with text fields and a file."""
    body = io.BytesIO()
    for name, value in fields.items():
        body.write(f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="picture"\r\n\r\n'
    body.write(head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode())
    return body.getvalue(), f"multipart/form-data; boundary={BOUNDARY}"


def load(file, kind):
    # STL repeats the corners of every triangle; the library joins those that are equal.
    return trimesh.load(io.BytesIO(file), file_type=kind, process=kind == "stl", force="mesh")


def is_solid(mesh):
    return bool(mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0 and mesh.euler_number == 2)


def check_answer(checks, name, kind, answer, width_mm):
    status, headers, file = answer
    if status != 200:
        checks.that(False, f"{name} as {kind}: status {status}: {file[:200]!r}")
        return None
    mesh = load(file, kind)
    counts = (int(headers["x-proofload-vertices"]), int(headers["x-proofload-triangles"]))
    times = [int(headers[f"x-proofload-{phase}-ns"]) for phase in PHASES]
    facts = {
        "a closed solid": is_solid(mesh),
        "the counts in the headers": counts == (len(mesh.vertices), len(mesh.faces)),
        "no degenerate face": bool(np.all(mesh.area_faces > 0)),
        "the width asked for": abs(mesh.extents[0] - width_mm) < 1e-3,
        "phases that sum to the total": sum(times) == int(headers["x-proofload-total-ns"]),
        "the facts in the headers": facts_hold(mesh, headers),
        "the media type": headers["content-type"] == MEDIA_TYPES[kind],
        "a file name": f"relief.{kind}" in headers["content-disposition"],
    }
    missing = [fact for fact, holds in facts.items() if not holds]
    milliseconds = " ".join(f"{phase} {ns / 1e6:.1f}" for phase, ns in zip(PHASES, times))
    what = f"{len(mesh.faces)} triangles, {len(file)} bytes, {mesh.volume / 1000:.1f} cm³, ms: {milliseconds}"
    checks.that(not missing, f"{name} as {kind}: {'without ' + ', '.join(missing) if missing else what}")
    return mesh


def facts_hold(mesh, headers):
    size = [float(side) for side in headers["x-proofload-size-mm"].split()]
    volume, area = (float(headers[f"x-proofload-{name}"]) for name in ["volume-mm3", "area-mm2"])
    return (
        np.allclose(size, mesh.extents, atol=1e-3)
        and np.isclose(volume, mesh.volume, rtol=1e-4)
        and np.isclose(area, mesh.area, rtol=1e-4)
        and headers["x-proofload-watertight"] == str(bool(mesh.is_watertight)).lower()
        and float(headers["x-proofload-overhang-share"]) == 0
    )


def check_parameters(checks, service, pictures):
    """Random parameters on every picture: whatever is asked for is a closed solid of the size asked for."""
    choice = random.Random(7)
    for path in pictures:
        for _ in range(4):
            asked = {
                "quality": choice.randint(1, 8),
                "size_mm": choice.randint(10, 500),
                "height_mm": round(choice.uniform(0.1, 100), 2),
                "base_mm": round(choice.uniform(0.2, 50), 2),
                "invert": choice.choice(["true", "false"]),
                "mask": choice.choice(["auto", "none"]),
            }
            _, headers, body = answer = service.post(path.read_bytes(), PICTURE_TYPES[path.suffix], "generate", JSON, **asked)
            if answer[0] != 200:
                checks.that(False, f"{path.name} with {asked}: status {answer[0]}: {body[:200]!r}")
                continue
            document = json.loads(body)
            mesh = load(base64.b64decode(document["mesh_base64"]), document["format"])
            facts = {
                "a closed solid": is_solid(mesh),
                "no degenerate face": bool(np.all(mesh.area_faces > 0)),
                "the size asked for": abs(max(mesh.extents[:2]) - asked["size_mm"]) < 1e-3,
                "the wall asked for": document["quality"]["minimum_wall_mm"] >= asked["base_mm"] - 1e-3,
                "the facts": facts_hold(mesh, headers),
            }
            missing = [fact for fact, holds in facts.items() if not holds]
            what = "without " + ", ".join(missing) if missing else f"{len(mesh.faces)} triangles"
            mask = f"mask {document['quality']['mask']} {document['quality']['foreground_share']:.2f}"
            checks.that(not missing, f"{path.name} {asked}: {what}, {mask}")


def check_pictures(checks, service, pictures):
    before = service.served()
    count = 0
    for path in pictures:
        picture, content_type = path.read_bytes(), PICTURE_TYPES[path.suffix]
        volumes = []
        for kind in MEDIA_TYPES:
            mesh = check_answer(checks, path.name, kind, service.post(picture, content_type, format=kind), 100.0)
            count += mesh is not None
            volumes += [mesh.volume] if mesh is not None else []
        checks.that(len(volumes) == 3 and np.ptp(volumes) < 1e-3 * max(volumes), f"{path.name}: all formats hold the same solid")
    fields = {"format": "ply", "resolution": "64", "width_mm": "50", "invert": "true"}
    mesh = check_answer(checks, "a form", "ply", service.post(*form(fields, pictures[0].read_bytes())), 50.0)
    count += mesh is not None
    gained = [after - start for start, after in zip(before, service.served())]
    checks.that(gained == [count, count], f"{count} reliefs count as as many successes: {gained}")


def check_stages(checks, service, pictures):
    """Every stage is a solid, and the last is what is answered at once."""
    for path in pictures:
        picture, content_type = path.read_bytes(), PICTURE_TYPES[path.suffix]
        status, _, body = service.post(picture, content_type, "generate-progressive", resolution=64)
        lines = [json.loads(line) for line in body.splitlines()]
        pieces = [base64.b64decode(line["mesh_base64"]) for line in lines[1:]]
        _, _, whole = service.post(picture, content_type, resolution=64)
        progress = [line["progress"] for line in lines]
        solid = [is_solid(load(piece, "stl")) for piece in pieces]
        holds = status == 200 and progress == [0, 25, 50, 75, 100] and all(solid) and pieces[-1] == whole
        checks.that(holds, f"{path.name} in stages: progress {progress}, solids {solid}, bytes {[len(p) for p in pieces]}")


def check_repair(checks, service):
    """What a mesh library makes is looked at as the library sees it, and comes back whole with a hole in it."""
    for name, mesh in [("torus", trimesh.creation.torus(20, 6)), ("box", trimesh.creation.box((3, 2, 1)))]:
        for kind in MEDIA_TYPES:
            for faces in [mesh.faces, mesh.faces[:-1]]:
                one = trimesh.Trimesh(mesh.vertices, faces, process=False)
                file = one.export(file_type=kind)
                file = file.encode() if isinstance(file, str) else file
                found = json.loads(service.post(file, MEDIA_TYPES[kind], "mesh/analyze")[2])
                status, _, repaired = service.post(file, MEDIA_TYPES[kind], "mesh/repair")
                holds = found["watertight"] == one.is_watertight and np.isclose(found["area"], one.area, rtol=1e-4)
                whole = status == 200 and load(repaired, kind)
                whole = whole and whole.is_volume and whole.volume > 0 and whole.euler_number == mesh.euler_number
                checks.that(holds and whole, f"{name} of {len(faces)} faces as {kind}: analysed {holds}, whole {whole}")


def png_claiming(width, height):
    """A picture of a few bytes that says it is huge."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def check_refusals(checks, service, picture):
    png = "image/png"
    wrong = [
        ("no picture", 400, "empty", service.post(b"", png)),
        ("a text", 415, "PNG or JPEG", service.post(b"hello", png)),
        ("a GIF", 415, "PNG or JPEG", service.post(b"GIF89a" + bytes(100), png)),
        ("a content type", 415, "image/png", service.post(picture, "text/plain")),
        ("half a picture", 422, "undamaged", service.post(picture[: len(picture) // 2], png)),
        ("a picture that claims 3.6 gigapixels", 413, "pixels", service.post(png_claiming(60000, 60000), png)),
        ("11 MiB", 413, "10 MiB", service.post(bytes(11 << 20), png)),
        ("an unknown format", 400, "stl, obj or ply", service.post(picture, png, format="gltf")),
        ("a text prompt", 400, "text prompt", service.post(picture, png, prompt="a cat")),
        ("a text prompt as JSON", 415, "text prompt", service.post(b'{"prompt": "a cat"}', JSON)),
        ("an unknown parameter", 400, "the parameters are", service.post(picture, png, depth=3)),
        ("two bad values", 400, "`base_mm`", service.post(picture, png, resolution=9, base_mm=-1)),
        ("a form without a picture", 400, "field `file`", service.post(*empty_form())),
        ("a form that breaks off", 400, "form", service.post(*broken_form(picture))),
    ]
    for what, status, part, (found, _, body) in wrong:
        message = error_of(body)
        checks.that(found == status and part in message, f"{what}: {found} {message}")


def empty_form():
    return f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"


def broken_form(picture):
    body, content_type = form({}, picture)
    return body[:-40], content_type


def error_of(body):
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return f"(no JSON error: {body[:80]!r})"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root = pathlib.Path(__file__).resolve().parents[2]
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else root / "scenarios" / "payloads"
    pictures = sorted(path for path in folder.iterdir() if path.suffix in PICTURE_TYPES)
    checks, service = Checks(), Service(sys.argv[1])
    checks.that(len(pictures) > 0, f"{len(pictures)} pictures in {folder.name}")
    if pictures:
        check_pictures(checks, service, pictures)
        check_parameters(checks, service, pictures)
        check_stages(checks, service, pictures)
        check_repair(checks, service)
        check_refusals(checks, service, next(path for path in pictures if path.suffix == ".png").read_bytes())
    print(f"relief: {checks.failed} checks failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
