// Numbers that change their place and nothing else: Transpose, Slice, Concat, Expand, Pad, Gather, constants. Only the
// width of an element matters, not what it means.
//
// Geometry: one element of the result a thread, blocks = ceil(elements / BLOCK); `transpose` a tile of 32 by 32 a block,
// read along the rows of the source and written along the rows of the result, with 4224 to 8448 bytes of shared memory.

struct StridedWords {
  unsigned count, rank;
  unsigned dimensions[MOST_DIMENSIONS];
  int source[MOST_DIMENSIONS], target[MOST_DIMENSIONS];
  unsigned source_offset, target_offset;
};

template <class T>
FUNCTION void strided(const StridedWords &words, const T *RESTRICT x, T *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    unsigned rest = at;
    int from = int(words.source_offset), to = int(words.target_offset);
    UNROLL for (unsigned axis = MOST_DIMENSIONS; axis-- > 0;) {
      if (axis >= words.rank) continue;
      const int index = int(rest % words.dimensions[axis]);
      rest /= words.dimensions[axis];
      from += index * words.source[axis];
      to += index * words.target[axis];
    }
    y[to] = x[from];
  }
}

/// Rows and columns of each of some matrices change places.
struct TransposeWords {
  unsigned rows, columns;
};

constexpr unsigned TILE = 32;

template <class T>
FUNCTION void transpose(const TransposeWords &words, const T *RESTRICT x, T *RESTRICT y) {
  // The odd width keeps a column's elements in different banks.
  SHARED(T, tile, TILE *(TILE + 1));
  const unsigned across = (words.columns + TILE - 1) / TILE, down = (words.rows + TILE - 1) / TILE;
  const unsigned matrix = blockIdx.x / (across * down), place = blockIdx.x % (across * down);
  const unsigned first_row = place / across * TILE, first_column = place % across * TILE;
  x += matrix * (words.rows * words.columns);
  y += matrix * (words.rows * words.columns);
  EACH_THREAD {
    for (unsigned line = threadIdx.x / TILE; line < TILE; line += BLOCK / TILE) {
      const unsigned row = first_row + line, column = first_column + threadIdx.x % TILE;
      if (row < words.rows && column < words.columns) {
        tile[line * (TILE + 1) + threadIdx.x % TILE] = x[row * words.columns + column];
      }
    }
  }
  PHASE {
    for (unsigned line = threadIdx.x / TILE; line < TILE; line += BLOCK / TILE) {
      const unsigned column = first_column + line, row = first_row + threadIdx.x % TILE;
      if (row < words.rows && column < words.columns) {
        y[column * words.rows + row] = tile[threadIdx.x % TILE * (TILE + 1) + line];
      }
    }
  }
}

constexpr unsigned PAD_CONSTANT = 0, PAD_EDGE = 1, PAD_REFLECT = 2;

struct PadWords {
  unsigned count, rank, mode, low_bits, high_bits;
  unsigned result[MOST_DIMENSIONS], source[MOST_DIMENSIONS];
  int begins[MOST_DIMENSIONS];
};

/// Where an index before, in or behind a line of `size` elements lies in it; negative where nothing is.
FUNCTION int padded(int index, int size, unsigned mode) {
  if (index >= 0 && index < size) return index;
  if (mode == PAD_CONSTANT) return -1;
  if (mode == PAD_EDGE) return index < 0 ? 0 : size - 1;
  if (size == 1) return 0;
  const int period = 2 * (size - 1);
  const int folded = (index % period + period) % period;
  return folded < size ? folded : period - folded;
}

template <class T>
FUNCTION void pad(const PadWords &words, const T *RESTRICT x, T *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    unsigned rest = at, from = 0, stride = 1;
    bool outside = false;
    UNROLL for (unsigned axis = MOST_DIMENSIONS; axis-- > 0;) {
      if (axis >= words.rank) continue;
      const int index = int(rest % words.result[axis]) - words.begins[axis];
      rest /= words.result[axis];
      const int place = padded(index, int(words.source[axis]), words.mode);
      outside = outside || place < 0;
      from += unsigned(place) * stride;
      stride *= words.source[axis];
    }
    const unsigned long long constant = (unsigned long long)words.high_bits << 32 | words.low_bits;
    y[at] = outside ? T(constant) : x[from];
  }
}

struct GatherWords {
  unsigned count, axis, inner, indices;
};

/// An index may count from the end. One that points nowhere gives zero bits: a kernel cannot refuse.
template <class T, class Index>
FUNCTION void gather(const GatherWords &words, const T *RESTRICT x, const Index *RESTRICT indices, T *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const unsigned inner = at % words.inner, which = at / words.inner % words.indices;
    const unsigned outer = at / words.inner / words.indices;
    Index index = indices[which];
    if (index < 0) index += Index(words.axis);
    const bool inside = index >= 0 && index < Index(words.axis);
    y[at] = inside ? x[(outer * words.axis + unsigned(index)) * words.inner + inner] : T(0);
  }
}

struct FillWords {
  unsigned count, low_bits, high_bits;
};

template <class T>
FUNCTION void fill(const FillWords &words, T *y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at < words.count) y[at] = T((unsigned long long)words.high_bits << 32 | words.low_bits);
  }
}

#define MOVEMENT(T, suffix)                                                                                 \
  KERNEL(strided_##suffix, StridedWords words, const T *x, T *y) { strided(words, x, y); }                  \
  KERNEL(transpose_##suffix, TransposeWords words, const T *x, T *y) { transpose(words, x, y); }            \
  KERNEL(pad_##suffix, PadWords words, const T *x, T *y) { pad(words, x, y); }                              \
  KERNEL(gather_i32_##suffix, GatherWords words, const T *x, const int *indices, T *y) {                    \
    gather(words, x, indices, y);                                                                           \
  }                                                                                                         \
  KERNEL(gather_i64_##suffix, GatherWords words, const T *x, const long long *indices, T *y) {              \
    gather(words, x, indices, y);                                                                           \
  }                                                                                                         \
  KERNEL(fill_##suffix, FillWords words, T *y) { fill(words, y); }

MOVEMENT(unsigned char, b1)
MOVEMENT(unsigned short, b2)
MOVEMENT(unsigned, b4)
MOVEMENT(unsigned long long, b8)

/// Elements that lie side by side in the source as in the result move in sixteens of bytes.
struct alignas(16) Sixteen {
  unsigned long long low, high;
};

KERNEL(strided_b16, StridedWords words, const Sixteen *x, Sixteen *y) { strided(words, x, y); }
