// Resize of planes to another height and width: nearest and linear, with ONNX's ways to say where a pixel lies.
//
// Geometry: one number of the result a thread, neighbours in a row are neighbours in a block;
// blocks = ceil(results / BLOCK). No shared memory: a source pixel that several need comes from the cache.

constexpr unsigned HALF_PIXEL = 0, PYTORCH_HALF_PIXEL = 1, ALIGN_CORNERS = 2, ASYMMETRIC = 3, HALF_PIXEL_SYMMETRIC = 4;
constexpr unsigned ROUND_PREFER_FLOOR = 0, ROUND_PREFER_CEIL = 1, FLOOR = 2, CEIL = 3;

struct ResizeWords {
  unsigned count;
  unsigned input_height, input_width, output_height, output_width;
  /// Result over source, along each side.
  float height_scale, width_scale;
  unsigned coordinates, rounding;
};

/// Where a pixel of the result lies among `input` pixels. After the operator's definition, in its order of operations:
/// a pixel that lies right between two must fall to the same side everywhere.
FUNCTION float source_of(unsigned pixel, unsigned input, unsigned output, float scale, unsigned coordinates) {
  const float at = float(pixel);
  switch (coordinates) {
    case PYTORCH_HALF_PIXEL:
      return output > 1 ? (at + 0.5f) / scale - 0.5f : 0.0f;
    case ALIGN_CORNERS:
      return output > 1 ? at * float(input - 1) / float(output - 1) : 0.0f;
    case ASYMMETRIC:
      return at / scale;
    case HALF_PIXEL_SYMMETRIC: {
      const float adjustment = float(output) / (scale * float(input)), centre = float(input) / 2.0f;
      return centre * (1.0f - adjustment) + (at + 0.5f) / scale - 0.5f;
    }
    default:
      return (at + 0.5f) / scale - 0.5f;
  }
}

FUNCTION unsigned within(float place, unsigned size) {
  return place < 0.0f ? 0 : place > float(size - 1) ? size - 1 : unsigned(place);
}

FUNCTION unsigned nearest(float place, unsigned size, unsigned rounding) {
  switch (rounding) {
    case ROUND_PREFER_CEIL:
      return within(roundf(place), size);
    case FLOOR:
      return within(floorf(place), size);
    case CEIL:
      return within(ceilf(place), size);
    default:
      return within(ceilf(place - 0.5f), size);
  }
}

/// The two pixels around a place, and the share of the second.
struct Between {
  unsigned low, high;
  float share;
};

FUNCTION Between between(float place, unsigned size) {
  const float inside = place < 0.0f ? 0.0f : place > float(size - 1) ? float(size - 1) : place;
  const unsigned low = unsigned(inside);
  return {low, low + 1 < size ? low + 1 : low, inside - float(low)};
}

FUNCTION float row_place(const ResizeWords &words, unsigned at) {
  const unsigned row = at / words.output_width % words.output_height;
  return source_of(row, words.input_height, words.output_height, words.height_scale, words.coordinates);
}

FUNCTION float column_place(const ResizeWords &words, unsigned at) {
  const unsigned column = at % words.output_width;
  return source_of(column, words.input_width, words.output_width, words.width_scale, words.coordinates);
}

template <class T>
FUNCTION const T *plane_of(const ResizeWords &words, const T *x, unsigned at) {
  return x + at / words.output_width / words.output_height * (words.input_height * words.input_width);
}

template <class T>
FUNCTION void resize_nearest(const ResizeWords &words, const T *RESTRICT x, T *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const unsigned row = nearest(row_place(words, at), words.input_height, words.rounding);
    const unsigned column = nearest(column_place(words, at), words.input_width, words.rounding);
    y[at] = plane_of(words, x, at)[row * words.input_width + column];
  }
}

template <class T>
FUNCTION float along(const T *row, const Between &columns) {
  return (1.0f - columns.share) * widen(row[columns.low]) + columns.share * widen(row[columns.high]);
}

template <class T>
FUNCTION void resize_linear(const ResizeWords &words, const T *RESTRICT x, T *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const Between rows = between(row_place(words, at), words.input_height);
    const Between columns = between(column_place(words, at), words.input_width);
    const T *plane = plane_of(words, x, at);
    const float upper = along(plane + rows.low * words.input_width, columns);
    const float lower = along(plane + rows.high * words.input_width, columns);
    y[at] = narrow<T>((1.0f - rows.share) * upper + rows.share * lower);
  }
}

#define RESIZE(T, suffix)                                                                                      \
  KERNEL(resize_nearest_##suffix, ResizeWords words, const T *x, T *y) { resize_nearest(words, x, y); }        \
  KERNEL(resize_linear_##suffix, ResizeWords words, const T *x, T *y) { resize_linear(words, x, y); }

RESIZE(float, f32)
RESIZE(half_t, f16)
