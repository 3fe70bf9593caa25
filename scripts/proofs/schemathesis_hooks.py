"""Bodies that schemathesis cannot make of the document alone: pictures and meshes, whole, cut off, changed, and not at all."""

import struct
import zlib

import schemathesis
from hypothesis import strategies

MESH = b"v 1 0 0\nv -1 0 0\nv 0 1 0\nv 0 -1 0\nv 0 0 1\nv 0 0 -1\nf 3 2 5\nf 2 4 5\nf 4 1 5\nf 3 1 6\nf 2 3 6\nf 4 2 6\n"
STL = bytes(80) + struct.pack("<I", 1) + struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)
PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
)


def png(width, height):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes((3 * x + 5 * y) % 256 for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def shortened(file, share):
    return file[: int(len(file) * share)]


def swapped(file, at, byte):
    return file[: at % len(file)] + bytes([byte]) + file[at % len(file) + 1 :]


def around(*whole):
    """These files, parts of them, some with a byte changed, and bytes that are none."""
    files = strategies.sampled_from(whole)
    cut = strategies.builds(shortened, files, strategies.floats(0, 1))
    changed = strategies.builds(swapped, files, strategies.integers(0, 1 << 20), strategies.integers(0, 255))
    return strategies.one_of(files, cut, changed, strategies.binary(max_size=200))


PICTURES = around(png(32, 24), png(16, 16))
MESHES = {"model/obj": around(MESH), "model/stl": around(STL), "model/ply": around(PLY)}
schemathesis.openapi.media_type("image/png", PICTURES)
for media_type, strategy in MESHES.items():
    schemathesis.openapi.media_type(media_type, strategy)


# A machine's time is for many requests and not for large meshes.
LARGEST = {"resolution": 48, "quality": 2}


@schemathesis.hook
def before_call(context, case, kwargs):
    """A caller that stops waiting after a few milliseconds is answered with 504, as it should be, and not looked for."""
    limit = str((case.headers or {}).get("x-request-timeout-ms", ""))
    if limit.isdigit() and int(limit) < 60_000:
        case.headers["x-request-timeout-ms"] = "60000"
    for name, largest in LARGEST.items():
        wanted = str((case.query or {}).get(name, ""))
        if wanted.isdigit() and largest < int(wanted) <= 512:
            case.query[name] = largest
    if str((case.query or {}).get("wait_seconds", "")).isdigit():
        case.query["wait_seconds"] = 1
