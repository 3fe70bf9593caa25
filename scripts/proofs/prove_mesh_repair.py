"""125 seeded damaged meshes, reliefs of photographs and primitives: at least 90 % come back watertight by trimesh."""

import io
import urllib.error
import urllib.request

import numpy as np
import trimesh
from harness import ROOT, Claims, Daemon

KINDS = ["holes", "turned faces", "duplicate vertices", "non-manifold edges", "all of them"]
SEEDS = 25
FORMATS = ["ply", "stl", "obj"]
# A repaired hole is flat where the surface was round, and a hole may be a tenth of the surface.
VOLUME_WITHIN = 0.1


def post(daemon, path, body, content_type):
    request = urllib.request.Request(f"{daemon.url}/api/v1/{path}", body, {"content-type": content_type})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.headers, answer.read()


def load(file, kind):
    # STL repeats the corners of every triangle; the library joins those that are equal.
    return trimesh.load(io.BytesIO(file), file_type=kind, process=kind == "stl", force="mesh")


def is_solid(mesh):
    return bool(mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0)


def originals(daemon):
    """Solids to damage: name and mesh."""
    for picture in sorted((ROOT / "scenarios" / "payloads").glob("*.png")):
        for resolution in [32, 64]:
            path = f"generate-3d?format=ply&resolution={resolution}"
            yield f"{picture.stem} {resolution}", load(post(daemon, path, picture.read_bytes(), "image/png")[1], "ply")
    yield "sphere", trimesh.creation.icosphere(subdivisions=3, radius=20)
    yield "box", trimesh.creation.box((30, 20, 10)).subdivide().subdivide().subdivide()
    yield "cylinder", trimesh.creation.cylinder(radius=10, height=30, sections=48).subdivide()
    yield "torus", trimesh.creation.torus(20, 6, 48, 24)
    yield "capsule", trimesh.creation.capsule(height=20, radius=8)


def patch(mesh, random, most):
    """Faces that hang together, from one on."""
    neighbours = {}
    for a, b in mesh.face_adjacency:
        neighbours.setdefault(int(a), []).append(int(b))
        neighbours.setdefault(int(b), []).append(int(a))
    found = [int(random.integers(len(mesh.faces)))]
    wanted = int(random.integers(1, most + 1))
    for face in found:
        found += [other for other in neighbours.get(face, []) if other not in found]
        if len(found) >= wanted:
            break
    return found[:wanted]


def damage(mesh, kind, random):
    """Vertices and faces of a damaged copy."""
    vertices, faces = np.array(mesh.vertices, dtype=float), np.array(mesh.faces)
    size = np.linalg.norm(mesh.extents)
    everything = kind == "all of them"
    if kind == "non-manifold edges" or everything:
        vertices, faces = with_fins(vertices, faces, size, random)
    if kind == "turned faces" or everything:
        turned = random.random(len(faces)) < random.uniform(0.02, 0.6)
        faces[turned] = faces[turned][:, ::-1]
    if kind == "holes" or everything:
        keep = np.ones(len(faces), bool)
        for _ in range(random.integers(1, 6)):
            keep[patch(mesh, random, max(2, len(mesh.faces) // 50))] = False
        faces = faces[keep]
    if kind == "duplicate vertices" or everything:
        vertices, faces = torn(vertices, faces, size, random)
    return vertices, faces


def with_fins(vertices, faces, size, random):
    """Triangles on edges that have two already: to a point outside, to another vertex, and faces twice."""
    vertices, added = list(vertices), []
    for _ in range(random.integers(1, 9)):
        a, b, c = faces[random.integers(len(faces))]
        kind = random.integers(3)
        if kind == 0:
            vertices.append(vertices[a] + random.normal(size=3) * 0.1 * size)
            added.append([a, b, len(vertices) - 1])
        elif kind == 1:
            other = random.integers(len(vertices))
            if other not in (a, b, c):
                added.append([a, b, other])
        else:
            added.append([c, a, b])
    return np.array(vertices), np.vstack([faces, np.array(added, dtype=faces.dtype).reshape(-1, 3)])


def torn(vertices, faces, size, random):
    """Some faces get vertices of their own, a hair's breadth away."""
    faces, vertices = faces.copy(), list(vertices)
    for face in np.nonzero(random.random(len(faces)) < random.uniform(0.05, 1.0))[0]:
        for corner in range(3):
            vertices.append(vertices[faces[face, corner]] + random.normal(size=3) * 1e-7 * size)
            faces[face, corner] = len(vertices) - 1
    return np.array(vertices), faces


def main():
    claims = Claims()
    with Daemon() as daemon:
        solids = list(originals(daemon))
        claims.claim(all(is_solid(mesh) for _, mesh in solids), f"{len(solids)} meshes are solids before they are damaged")
        total, damaged, repaired, solid, alike = 0, 0, 0, 0, 0
        for kind in KINDS:
            of_kind = 0
            for seed in range(SEEDS):
                random = np.random.default_rng([KINDS.index(kind), seed])
                name, mesh = solids[seed % len(solids)]
                file_type = FORMATS[seed % len(FORMATS)]
                broken = trimesh.Trimesh(*damage(mesh, kind, random), process=False)
                file = broken.export(file_type=file_type)
                file = file.encode() if isinstance(file, str) else file
                damaged += not is_solid(broken)
                try:
                    headers, answer = post(daemon, "mesh/repair", file, "application/octet-stream")
                except urllib.error.HTTPError as error:
                    print(f"  {kind}, {name}, seed {seed}: {error.code} {error.read()[:200]}")
                    total += 1
                    continue
                found = load(answer, file_type)
                total += 1
                of_kind += found.is_watertight
                repaired += found.is_watertight
                solid += is_solid(found)
                near = abs(found.volume - mesh.volume) <= VOLUME_WITHIN * mesh.volume
                alike += near
                if not is_solid(found) or not near:
                    share = found.volume / mesh.volume
                    print(f"  {kind}, {name} as {file_type}, seed {seed}: watertight {found.is_watertight}, "
                          f"turns alike {found.is_winding_consistent}, volume {share:.3f} of the original's, "
                          f"{headers['x-proofload-repair']}")
            print(f"  {kind}: {of_kind} of {SEEDS} watertight", flush=True)
    claims.claim(damaged == total, f"{damaged} of {total} are no solids when they are damaged")
    claims.claim(repaired >= 0.9 * total, f"{repaired} of {total} are watertight when they are repaired")
    claims.claim(solid >= 0.9 * total, f"{solid} of {total} also turn outwards")
    claims.claim(alike >= 0.9 * total, f"{alike} of {total} have the original's volume within {VOLUME_WITHIN:.0%}")
    claims.finish()


if __name__ == "__main__":
    main()
