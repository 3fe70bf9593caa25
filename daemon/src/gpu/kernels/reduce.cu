// One number for all along an axis: ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceSumSquare, ReduceL2,
// GlobalAveragePool, GlobalMaxPool.
//
// Geometry: `reduce_rows`, where the axis is the last and long, a result a block, with 1024 bytes of shared memory;
// `reduce_columns` a result a thread, blocks = ceil(results / BLOCK).

struct ReduceWords {
  unsigned results, axis, inner;
  /// What the result is multiplied with: 1 / axis for a mean.
  float scale;
};

/// How a reduction begins, takes a number in, joins two parts and ends.
struct Total {
  using Join = Add;
  FUNCTION float start() { return 0.0f; }
  FUNCTION float taken(float x) { return x; }
  FUNCTION float done(float sum, float scale) { return sum * scale; }
};
struct Squares : Total {
  FUNCTION float taken(float x) { return x * x; }
};
struct Length : Squares {
  FUNCTION float done(float sum, float) { return sqrtf(sum); }
};
struct Highest : Total {
  using Join = Greater;
  FUNCTION float start() { return float_of_bits(0xFF800000u); }
  FUNCTION float done(float value, float) { return value; }
};
struct Lowest : Highest {
  using Join = Less;
  FUNCTION float start() { return float_of_bits(0x7F800000u); }
};

/// A long line in one thread: what an addition loses is carried on to the next.
template <class Join>
struct Gathered {
  float value, lost;
  FUNCTION Gathered joined(const Gathered &so_far, float x) {
    const float corrected = Join::ROUNDS ? x - so_far.lost : x, value = Join::of(so_far.value, corrected);
    const float lost = value - so_far.value - corrected;
    // Of infinity nothing is lost.
    return {value, Join::ROUNDS && fabsf(lost) < 1e38f ? lost : 0.0f};
  }
};

template <class How, class T>
FUNCTION void reduce_rows(const ReduceWords &words, const T *x, T *y) {
  using Join = typename How::Join;
  SHARED(float, partial, BLOCK);
  const T *row = x + blockIdx.x * words.axis;
  EACH_THREAD {
    float value = How::start();
    for (unsigned at = threadIdx.x; at < words.axis; at += BLOCK) value = Join::of(value, How::taken(widen(row[at])));
    partial[threadIdx.x] = value;
  }
  fold<Join>(partial);
  PHASE {
    if (threadIdx.x == 0) y[blockIdx.x] = narrow<T>(How::done(partial[0], words.scale));
  }
}

template <class How, class T>
FUNCTION void reduce_columns(const ReduceWords &words, const T *x, T *y) {
  using Sum = Gathered<typename How::Join>;
  EACH_THREAD {
    const unsigned result = global_thread();
    if (result >= words.results) continue;
    const T *line = x + result / words.inner * words.axis * words.inner + result % words.inner;
    Sum sum = {How::start(), 0.0f};
    for (unsigned at = 0; at < words.axis; ++at) sum = Sum::joined(sum, How::taken(widen(line[at * words.inner])));
    y[result] = narrow<T>(How::done(sum.value, words.scale));
  }
}

#define REDUCE_OF(label, How, T, suffix)                                                                                \
  KERNEL(reduce_##label##_rows_##suffix, ReduceWords words, const T *x, T *y) { reduce_rows<How>(words, x, y); }        \
  KERNEL(reduce_##label##_columns_##suffix, ReduceWords words, const T *x, T *y) { reduce_columns<How>(words, x, y); }
#define REDUCE(label, How)             \
  REDUCE_OF(label, How, float, f32)    \
  REDUCE_OF(label, How, half_t, f16)

REDUCE(sum, Total)
REDUCE(square, Squares)
REDUCE(length, Length)
REDUCE(max, Highest)
REDUCE(min, Lowest)
