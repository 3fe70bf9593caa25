// LayerNormalization and Softmax.
//
// Geometry: `layer_norm` and `softmax_rows` a row a block, with 1024 bytes of shared memory; the row is read two or three
// times, from the cache after the first. `softmax_columns`, for an axis that is not the last, one line a thread: threads
// that are neighbours read neighbours; blocks = ceil(lines / BLOCK).

struct LayerNormWords {
  unsigned columns;
  float epsilon;
};

template <class T>
FUNCTION void layer_norm(const LayerNormWords &words, const T *x, const float *gamma, const float *beta, T *y) {
  SHARED(float, partial, BLOCK);
  PER_THREAD(float, mean);
  const T *row = x + blockIdx.x * words.columns;
  T *out = y + blockIdx.x * words.columns;
  EACH_THREAD {
    float sum = 0.0f;
    for (unsigned at = threadIdx.x; at < words.columns; at += BLOCK) sum += widen(row[at]);
    partial[threadIdx.x] = sum;
  }
  fold<Add>(partial);
  PHASE { MINE(mean) = partial[0] / float(words.columns); }
  // The variance in a second pass: the mean of squares less the square of the mean would cancel.
  PHASE {
    float sum = 0.0f;
    for (unsigned at = threadIdx.x; at < words.columns; at += BLOCK) {
      const float off = widen(row[at]) - MINE(mean);
      sum += off * off;
    }
    partial[threadIdx.x] = sum;
  }
  fold<Add>(partial);
  PHASE {
    const float scale = 1.0f / sqrtf(partial[0] / float(words.columns) + words.epsilon);
    for (unsigned at = threadIdx.x; at < words.columns; at += BLOCK) {
      const float value = (widen(row[at]) - MINE(mean)) * scale;
      out[at] = narrow<T>(value * (gamma ? gamma[at] : 1.0f) + (beta ? beta[at] : 0.0f));
    }
  }
}

KERNEL(layer_norm_f32, LayerNormWords words, const float *x, const float *gamma, const float *beta, float *y) {
  layer_norm(words, x, gamma, beta, y);
}
KERNEL(layer_norm_f16, LayerNormWords words, const half_t *x, const float *gamma, const float *beta, half_t *y) {
  layer_norm(words, x, gamma, beta, y);
}

/// Below every number.
FUNCTION float lowest() { return float_of_bits(0xFF800000u); }

struct SoftmaxRowsWords {
  unsigned columns;
};

template <class T>
FUNCTION void softmax_rows(const SoftmaxRowsWords &words, const T *x, T *y) {
  SHARED(float, partial, BLOCK);
  PER_THREAD(float, most);
  const T *row = x + blockIdx.x * words.columns;
  T *out = y + blockIdx.x * words.columns;
  EACH_THREAD {
    float high = lowest();
    for (unsigned at = threadIdx.x; at < words.columns; at += BLOCK) high = Greater::of(widen(row[at]), high);
    partial[threadIdx.x] = high;
  }
  fold<Greater>(partial);
  PHASE { MINE(most) = partial[0]; }
  PHASE {
    float sum = 0.0f;
    for (unsigned at = threadIdx.x; at < words.columns; at += BLOCK) sum += expf(widen(row[at]) - MINE(most));
    partial[threadIdx.x] = sum;
  }
  fold<Add>(partial);
  PHASE {
    const float scale = 1.0f / partial[0];
    for (unsigned at = threadIdx.x; at < words.columns; at += BLOCK) {
      out[at] = narrow<T>(expf(widen(row[at]) - MINE(most)) * scale);
    }
  }
}

struct SoftmaxColumnsWords {
  unsigned lines, axis, inner;
};

template <class T>
FUNCTION void softmax_columns(const SoftmaxColumnsWords &words, const T *x, T *y) {
  EACH_THREAD {
    const unsigned line = global_thread();
    if (line >= words.lines) continue;
    const unsigned first = line / words.inner * words.axis * words.inner + line % words.inner;
    float most = lowest(), sum = 0.0f;
    for (unsigned at = 0; at < words.axis; ++at) most = Greater::of(widen(x[first + at * words.inner]), most);
    for (unsigned at = 0; at < words.axis; ++at) sum += expf(widen(x[first + at * words.inner]) - most);
    const float scale = 1.0f / sum;
    for (unsigned at = 0; at < words.axis; ++at) {
      const unsigned place = first + at * words.inner;
      y[place] = narrow<T>(expf(widen(x[place]) - most) * scale);
    }
  }
}

#define SOFTMAX(T, suffix)                                                                                            \
  KERNEL(softmax_rows_##suffix, SoftmaxRowsWords words, const T *x, T *y) { softmax_rows(words, x, y); }              \
  KERNEL(softmax_columns_##suffix, SoftmaxColumnsWords words, const T *x, T *y) { softmax_columns(words, x, y); }

SOFTMAX(float, f32)
SOFTMAX(half_t, f16)
