// MaxPool and AveragePool over planes.
//
// Geometry: one number of the result a thread, neighbours in a row are neighbours in a block;
// blocks = ceil(results / BLOCK). No shared memory: windows overlap in the cache.

struct PoolWords {
  unsigned count;
  unsigned input_height, input_width, output_height, output_width;
  unsigned kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
  unsigned top, left, bottom, right;
  /// Whether what lies in the padding counts, as zero, in a mean.
  unsigned padding_counts;
};

/// A place of the result: its plane, and where its window begins there.
struct Place {
  unsigned plane;
  int top, left;
};

FUNCTION Place place_of(const PoolWords &words, unsigned at) {
  const unsigned column = at % words.output_width, row = at / words.output_width % words.output_height;
  return {at / words.output_width / words.output_height, int(row * words.stride_height) - int(words.top),
          int(column * words.stride_width) - int(words.left)};
}

template <class T>
FUNCTION void max_pool(const PoolWords &words, const T *RESTRICT x, T *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const Place place = place_of(words, at);
    const T *plane = x + place.plane * (words.input_height * words.input_width);
    float most = float_of_bits(0xFF800000u);
    for (unsigned line = 0; line < words.kernel_height; ++line) {
      const int row = place.top + int(line * words.dilation_height);
      if (row < 0 || row >= int(words.input_height)) continue;
      for (unsigned step = 0; step < words.kernel_width; ++step) {
        const int column = place.left + int(step * words.dilation_width);
        if (column < 0 || column >= int(words.input_width)) continue;
        most = Greater::of(widen(plane[unsigned(row) * words.input_width + unsigned(column)]), most);
      }
    }
    y[at] = narrow<T>(most);
  }
}

template <class T>
FUNCTION void average_pool(const PoolWords &words, const T *RESTRICT x, T *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const Place place = place_of(words, at);
    const T *plane = x + place.plane * (words.input_height * words.input_width);
    float sum = 0.0f;
    unsigned inside = 0, padded = 0;
    for (unsigned line = 0; line < words.kernel_height; ++line) {
      const int row = place.top + int(line * words.dilation_height);
      for (unsigned step = 0; step < words.kernel_width; ++step) {
        const int column = place.left + int(step * words.dilation_width);
        // A window that was rounded up may reach beyond even the padding.
        if (row >= int(words.input_height + words.bottom) || column >= int(words.input_width + words.right)) continue;
        ++padded;
        if (row < 0 || row >= int(words.input_height) || column < 0 || column >= int(words.input_width)) continue;
        ++inside;
        sum += widen(plane[unsigned(row) * words.input_width + unsigned(column)]);
      }
    }
    const unsigned divisor = words.padding_counts ? padded : inside;
    y[at] = narrow<T>(divisor == 0 ? 0.0f : sum / float(divisor));
  }
}

#define POOL(T, suffix)                                                                              \
  KERNEL(max_pool_##suffix, PoolWords words, const T *x, T *y) { max_pool(words, x, y); }            \
  KERNEL(average_pool_##suffix, PoolWords words, const T *x, T *y) { average_pool(words, x, y); }

POOL(float, f32)
POOL(half_t, f16)
