// A height field as a closed solid, written straight into the layout of its file: relief on top, walls, a flat base. The
// same vertices, triangles and order as on the CPU (relief/mesh.rs, mesh/export), down to the bytes.
//
// Geometry: a vertex or a triangle a thread. Triangles are 50 or 13 bytes long, so a block lays out its own in shared
// memory (12 800 or 3 328 bytes) and then copies them in words, neighbours to neighbours. blocks = ceil(triangles / BLOCK).
// The file's header is the host's affair: pointers are to what lies behind it, aligned like any other.

struct MeshWords {
  unsigned columns, rows;
  /// Of the plate, in millimetres: doubles.
  unsigned width[2], depth[2];
};

struct Point {
  float x, y, z;
};

FUNCTION unsigned rim_length(const MeshWords &words) { return 2 * (words.columns - 1) + 2 * (words.rows - 1); }
FUNCTION unsigned cells(const MeshWords &words) { return (words.columns - 1) * (words.rows - 1); }
FUNCTION unsigned triangle_count(const MeshWords &words) { return 2 * cells(words) + 3 * rim_length(words); }
FUNCTION unsigned vertex_count(const MeshWords &words) { return words.columns * words.rows + rim_length(words) + 1; }

/// The top's outermost vertices, counter-clockwise seen from above: front, right, back, left.
FUNCTION unsigned rim_vertex(const MeshWords &words, unsigned place) {
  const unsigned across = words.columns - 1, down = words.rows - 1;
  if (place < across) return down * words.columns + place;
  place -= across;
  if (place < down) return (down - place) * words.columns + across;
  place -= down;
  if (place < across) return across - place;
  return (place - across) * words.columns;
}

/// On the grid that every file format can say exactly: a tenth of a micrometre.
FUNCTION float on_grid(double mm) { return float(round(mm * 10000.0) / 10000.0); }

FUNCTION double share(unsigned index, unsigned count) { return double(index) / double(count - 1); }

FUNCTION float height_at(const float *heights, unsigned vertex) { return on_grid(double(heights[vertex])); }

FUNCTION Point top_vertex(const MeshWords &words, const float *heights, unsigned vertex) {
  const double width = double_of(words.width[0], words.width[1]), depth = double_of(words.depth[0], words.depth[1]);
  const unsigned row = vertex / words.columns, column = vertex % words.columns;
  return {on_grid(width * share(column, words.columns)), on_grid(depth * (1.0 - share(row, words.rows))),
          height_at(heights, vertex)};
}

/// The top row by row, the base's rim, the base's centre.
FUNCTION Point vertex_at(const MeshWords &words, const float *heights, unsigned vertex) {
  const unsigned top = words.columns * words.rows;
  if (vertex < top) return top_vertex(words, heights, vertex);
  if (vertex < top + rim_length(words)) {
    Point below = top_vertex(words, heights, rim_vertex(words, vertex - top));
    below.z = 0.0f;
    return below;
  }
  return {on_grid(double_of(words.width[0], words.width[1]) / 2.0),
          on_grid(double_of(words.depth[0], words.depth[1]) / 2.0), 0.0f};
}

/// Three vertices, counter-clockwise seen from outside.
struct Corners {
  unsigned a, b, c;
};

/// Each cell is cut along the diagonal that follows the relief more closely.
FUNCTION Corners top_triangle(const MeshWords &words, const float *heights, unsigned triangle) {
  const unsigned cell = triangle / 2, across = words.columns - 1;
  const unsigned a = cell / across * words.columns + cell % across, b = a + 1;
  const unsigned d = a + words.columns, e = d + 1;
  const bool rising = fabsf(height_at(heights, d) - height_at(heights, b)) <=
                      fabsf(height_at(heights, a) - height_at(heights, e));
  if (rising) return triangle % 2 == 0 ? Corners{d, e, b} : Corners{d, b, a};
  return triangle % 2 == 0 ? Corners{d, e, a} : Corners{e, b, a};
}

FUNCTION Corners side_triangle(const MeshWords &words, unsigned triangle) {
  const unsigned below = words.columns * words.rows, centre = below + rim_length(words);
  const unsigned place = triangle / 3, next = (place + 1) % rim_length(words);
  if (triangle % 3 == 0) return {below + place, below + next, rim_vertex(words, next)};
  if (triangle % 3 == 1) return {below + place, rim_vertex(words, next), rim_vertex(words, place)};
  return {centre, below + next, below + place};
}

FUNCTION Corners triangle_at(const MeshWords &words, const float *heights, unsigned triangle) {
  const unsigned top = 2 * cells(words);
  return triangle < top ? top_triangle(words, heights, triangle) : side_triangle(words, triangle - top);
}

FUNCTION Point normal_of(const Point &a, const Point &b, const Point &c) {
  const Point u = {b.x - a.x, b.y - a.y, b.z - a.z}, v = {c.x - a.x, c.y - a.y, c.z - a.z};
  const Point n = {u.y * v.z - u.z * v.y, u.z * v.x - u.x * v.z, u.x * v.y - u.y * v.x};
  const float length = sqrtf(n.x * n.x + n.y * n.y + n.z * n.z);
  return {n.x / length, n.y / length, n.z / length};
}

/// Bytes of a triangle in STL: normal, corners, and two that mean nothing.
constexpr unsigned STL_BYTES = 50;
/// Bytes of a triangle in PLY: how many corners, and which.
constexpr unsigned FACE_BYTES = 13;

template <class Bytes>
FUNCTION void put_word(Bytes &bytes, unsigned at, unsigned word) {
  for (unsigned byte = 0; byte < 4; ++byte) bytes[at + byte] = (unsigned char)(word >> 8 * byte);
}

template <class Bytes>
FUNCTION void put_point(Bytes &bytes, unsigned at, const Point &point) {
  put_word(bytes, at, bits_of_float(point.x));
  put_word(bytes, at + 4, bits_of_float(point.y));
  put_word(bytes, at + 8, bits_of_float(point.z));
}

/// Copies a block's records from shared memory to where they belong, in words and at the end of the last block in bytes.
template <class Bytes>
FUNCTION void copy_records(Bytes &bytes, unsigned record_bytes, unsigned count, unsigned char *file) {
  const unsigned first = blockIdx.x * BLOCK;
  const unsigned records = count - first < BLOCK ? count - first : BLOCK;
  const unsigned length = records * record_bytes;
  unsigned char *target = file + first * record_bytes;
  PHASE {
    for (unsigned at = 4 * threadIdx.x; at + 4 <= length; at += 4 * BLOCK) {
      unsigned word = 0;
      for (unsigned byte = 0; byte < 4; ++byte) word |= unsigned(bytes[at + byte]) << 8 * byte;
      *reinterpret_cast<unsigned *>(target + at) = word;
    }
    if (threadIdx.x < length % 4) target[length / 4 * 4 + threadIdx.x] = bytes[length / 4 * 4 + threadIdx.x];
  }
}

/// The records of binary STL.
KERNEL(mesh_stl, MeshWords words, const float *heights, unsigned char *records) {
  SHARED(unsigned char, bytes, STL_BYTES *BLOCK);
  EACH_THREAD {
    const unsigned triangle = global_thread(), at = STL_BYTES * threadIdx.x;
    if (triangle >= triangle_count(words)) continue;
    const Corners corners = triangle_at(words, heights, triangle);
    const Point a = vertex_at(words, heights, corners.a), b = vertex_at(words, heights, corners.b);
    const Point c = vertex_at(words, heights, corners.c);
    put_point(bytes, at, normal_of(a, b, c));
    put_point(bytes, at + 12, a);
    put_point(bytes, at + 24, b);
    put_point(bytes, at + 36, c);
    bytes[at + 48] = 0;
    bytes[at + 49] = 0;
  }
  copy_records(bytes, STL_BYTES, triangle_count(words), records);
}

/// The vertices of PLY, three floats each.
KERNEL(mesh_vertices, MeshWords words, const float *heights, float *vertices) {
  EACH_THREAD {
    const unsigned vertex = global_thread();
    if (vertex >= vertex_count(words)) continue;
    const Point point = vertex_at(words, heights, vertex);
    vertices[3 * vertex] = point.x;
    vertices[3 * vertex + 1] = point.y;
    vertices[3 * vertex + 2] = point.z;
  }
}

/// The faces of PLY.
KERNEL(mesh_faces, MeshWords words, const float *heights, unsigned char *faces) {
  SHARED(unsigned char, bytes, FACE_BYTES *BLOCK);
  EACH_THREAD {
    const unsigned triangle = global_thread(), at = FACE_BYTES * threadIdx.x;
    if (triangle >= triangle_count(words)) continue;
    const Corners corners = triangle_at(words, heights, triangle);
    bytes[at] = 3;
    put_word(bytes, at + 1, corners.a);
    put_word(bytes, at + 5, corners.b);
    put_word(bytes, at + 9, corners.c);
  }
  copy_records(bytes, FACE_BYTES, triangle_count(words), faces);
}
