// Matrix products, convolutions and transposed convolutions, where NVIDIA's libraries are absent. A convolution is a
// matrix product whose right side, the windows under the filter, is read in place and never laid out.
//
// Geometry: a tile of 64 by 64 of the result a block, 4 by 4 a thread; along the sum in steps of 16. Shared memory: 16
// by 65 of the left and 16 by 64 of the right side, 8256 bytes. blocks = matrices * ceil(rows / 64) * ceil(columns / 64).
// What lies beyond an edge reads as zero and is not written.

constexpr unsigned SIDE = 64, STEP = 16, EACH = 4, ACROSS = SIDE / EACH;

/// A thread's part of the tile.
struct Part {
  float at[EACH][EACH];
};

/// Which tile of which matrix a block makes.
struct Tile {
  unsigned matrix, row, column;
};

FUNCTION Tile tile_of(unsigned block, unsigned rows, unsigned columns) {
  const unsigned across = (columns + SIDE - 1) / SIDE, down = (rows + SIDE - 1) / SIDE;
  return {block / across / down, block / across % down * SIDE, block % across * SIDE};
}

/// Sums over `depth` products `left.at(row, step) * right.at(step, column)`; hands each result to `out.put`.
template <class Left, class Right, class Out>
FUNCTION void tile_product(const Tile &tile, unsigned depth, const Left &left, const Right &right, const Out &out) {
  // A column more, so that the rows of one step lie in different banks.
  SHARED(float, lefts, STEP *(SIDE + 1));
  SHARED(float, rights, STEP *SIDE);
  PER_THREAD(Part, sums);
  EACH_THREAD {
    UNROLL for (unsigned place = 0; place < EACH * EACH; ++place) MINE(sums).at[place / EACH][place % EACH] = 0.0f;
  }
  for (unsigned first = 0; first < depth; first += STEP) {
    PHASE {
      for (unsigned at = threadIdx.x; at < STEP * SIDE; at += BLOCK) {
        const unsigned step = at % STEP, row = at / STEP;
        lefts[step * (SIDE + 1) + row] = left.at(tile.row + row, first + step);
        rights[at] = right.at(first + at / SIDE, tile.column + at % SIDE);
      }
    }
    PHASE {
      const unsigned row = threadIdx.x / ACROSS * EACH, column = threadIdx.x % ACROSS;
      Part &mine = MINE(sums);
      for (unsigned step = 0; step < STEP; ++step) {
        float across[EACH], down[EACH];
        UNROLL for (unsigned at = 0; at < EACH; ++at) {
          down[at] = lefts[step * (SIDE + 1) + row + at];
          across[at] = rights[step * SIDE + column + at * ACROSS];
        }
        UNROLL for (unsigned place = 0; place < EACH * EACH; ++place) {
          mine.at[place / EACH][place % EACH] += down[place / EACH] * across[place % EACH];
        }
      }
    }
  }
  PHASE {
    const unsigned row = tile.row + threadIdx.x / ACROSS * EACH, column = tile.column + threadIdx.x % ACROSS;
    UNROLL for (unsigned place = 0; place < EACH * EACH; ++place) {
      out.put(row + place / EACH, column + place % EACH * ACROSS, MINE(sums).at[place / EACH][place % EACH]);
    }
  }
}

/// A matrix in memory, by strides.
template <class T>
struct Matrix {
  const T *values;
  unsigned rows, columns, row_stride, column_stride;
  FUNCTION_OF_OBJECT float at(unsigned row, unsigned column) const {
    return row < rows && column < columns ? widen(values[row * row_stride + column * column_stride]) : 0.0f;
  }
};

/// A dense result.
template <class T>
struct Result {
  T *values;
  unsigned rows, columns;
  float alpha;
  FUNCTION_OF_OBJECT void put(unsigned row, unsigned column, float sum) const {
    if (row < rows && column < columns) values[row * columns + column] = narrow<T>(alpha * sum);
  }
};

struct MatmulWords {
  unsigned rows, columns, depth;
  unsigned a_matrix, a_row, a_column;
  unsigned b_matrix, b_row, b_column;
  float alpha;
};

template <class T>
FUNCTION void matmul(const MatmulWords &words, const T *RESTRICT a, const T *RESTRICT b, T *RESTRICT y) {
  const Tile tile = tile_of(blockIdx.x, words.rows, words.columns);
  const Matrix<T> left = {a + tile.matrix * words.a_matrix, words.rows, words.depth, words.a_row, words.a_column};
  const Matrix<T> right = {b + tile.matrix * words.b_matrix, words.depth, words.columns, words.b_row, words.b_column};
  const Result<T> out = {y + tile.matrix * (words.rows * words.columns), words.rows, words.columns, words.alpha};
  tile_product(tile, words.depth, left, right, out);
}

struct ConvolutionWords {
  unsigned groups, in_channels, out_channels;
  unsigned input_height, input_width, output_height, output_width;
  unsigned kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
  unsigned top, left;
};

/// A pixel of the source under a place of the filter.
struct Under {
  unsigned channel, filter_row, filter_column;
};

FUNCTION Under under(const ConvolutionWords &words, unsigned step) {
  const unsigned column = step % words.kernel_width, row = step / words.kernel_width % words.kernel_height;
  return {step / words.kernel_width / words.kernel_height, row, column};
}

/// What the filter sees: a row for each of its weights, a column for each pixel of the result.
template <class T>
struct Windows {
  const ConvolutionWords &words;
  const T *image;
  unsigned rows, columns;
  FUNCTION_OF_OBJECT float at(unsigned row, unsigned column) const {
    if (row >= rows || column >= columns) return 0.0f;
    const Under place = under(words, row);
    const int y = int(column / words.output_width * words.stride_height + place.filter_row * words.dilation_height) -
                  int(words.top);
    const int x = int(column % words.output_width * words.stride_width + place.filter_column * words.dilation_width) -
                  int(words.left);
    if (y < 0 || y >= int(words.input_height) || x < 0 || x >= int(words.input_width)) return 0.0f;
    return widen(image[(place.channel * words.input_height + unsigned(y)) * words.input_width + unsigned(x)]);
  }
};

/// What reaches a pixel of a transposed convolution's result through each of the filter's weights.
template <class T>
struct Sources {
  const ConvolutionWords &words;
  const T *image;
  unsigned rows, columns;
  FUNCTION_OF_OBJECT float at(unsigned row, unsigned column) const {
    if (row >= rows || column >= columns) return 0.0f;
    const Under place = under(words, row);
    const int y = int(column / words.output_width + words.top) - int(place.filter_row * words.dilation_height);
    const int x = int(column % words.output_width + words.left) - int(place.filter_column * words.dilation_width);
    if (y < 0 || x < 0 || y % int(words.stride_height) != 0 || x % int(words.stride_width) != 0) return 0.0f;
    const unsigned line = unsigned(y) / words.stride_height, pixel = unsigned(x) / words.stride_width;
    if (line >= words.input_height || pixel >= words.input_width) return 0.0f;
    return widen(image[(place.channel * words.input_height + line) * words.input_width + pixel]);
  }
};

/// A transposed convolution's weights lie with the input's channels first.
template <class T>
struct TransposedWeights {
  const T *values;
  unsigned rows, columns, filter;
  FUNCTION_OF_OBJECT float at(unsigned row, unsigned column) const {
    if (row >= rows || column >= columns) return 0.0f;
    return widen(values[(column / filter * rows + row) * filter + column % filter]);
  }
};

/// Sizes of the product that a convolution is, for one picture and one group.
struct Sizes {
  unsigned rows, columns, depth, filter, image;
};

FUNCTION Sizes sizes_of(const ConvolutionWords &words) {
  const unsigned filter = words.kernel_height * words.kernel_width, in = words.in_channels / words.groups;
  return {words.out_channels / words.groups, words.output_height * words.output_width, in * filter, filter,
          in * words.input_height * words.input_width};
}

// Of all pictures, the groups lie one behind the other, in the source and in the result.
template <class T>
FUNCTION void conv(const ConvolutionWords &words, const T *RESTRICT x, const T *RESTRICT w, T *RESTRICT y) {
  const Sizes sizes = sizes_of(words);
  const Tile tile = tile_of(blockIdx.x, sizes.rows, sizes.columns);
  const unsigned weights = tile.matrix % words.groups * (sizes.rows * sizes.depth);
  const Matrix<T> left = {w + weights, sizes.rows, sizes.depth, sizes.depth, 1};
  const Windows<T> right = {words, x + tile.matrix * sizes.image, sizes.depth, sizes.columns};
  const Result<T> out = {y + tile.matrix * (sizes.rows * sizes.columns), sizes.rows, sizes.columns, 1.0f};
  tile_product(tile, sizes.depth, left, right, out);
}

template <class T>
FUNCTION void conv_transpose(const ConvolutionWords &words, const T *RESTRICT x, const T *RESTRICT w, T *RESTRICT y) {
  const Sizes sizes = sizes_of(words);
  const Tile tile = tile_of(blockIdx.x, sizes.rows, sizes.columns);
  const unsigned weights = tile.matrix % words.groups * (sizes.rows * sizes.depth);
  const TransposedWeights<T> left = {w + weights, sizes.rows, sizes.depth, sizes.filter};
  const Sources<T> right = {words, x + tile.matrix * sizes.image, sizes.depth, sizes.columns};
  const Result<T> out = {y + tile.matrix * (sizes.rows * sizes.columns), sizes.rows, sizes.columns, 1.0f};
  tile_product(tile, sizes.depth, left, right, out);
}

#define PRODUCT(T, suffix)                                                                                       \
  KERNEL(matmul_##suffix, MatmulWords words, const T *a, const T *b, T *y) { matmul(words, a, b, y); }           \
  KERNEL(conv_##suffix, ConvolutionWords words, const T *x, const T *w, T *y) { conv(words, x, w, y); }          \
  KERNEL(conv_transpose_##suffix, ConvolutionWords words, const T *x, const T *w, T *y) {                        \
    conv_transpose(words, x, w, y);                                                                              \
  }

PRODUCT(float, f32)
PRODUCT(half_t, f16)
