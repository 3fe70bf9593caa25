// One number out for one, two or four in.
//
// Geometry: a thread takes LANES neighbours, 16 bytes, and the last thread the rest; `binary` takes one number a
// thread, because its operands are walked by strides. blocks = ceil(numbers / (BLOCK * numbers a thread)). No shared
// memory. Bound by memory: 2 to 4 accesses a number.

struct UnaryWords {
  unsigned count;
  float alpha, beta;
};

// In place is allowed: a thread reads all that it writes before it writes.
template <class Op, class T>
FUNCTION void unary(const UnaryWords &words, const T *x, T *y) {
  EACH_THREAD {
    const unsigned first = LANES<T> * global_thread();
    if (first + LANES<T> <= words.count) {
      Pack<T> pack = load_pack(x + first);
      UNROLL for (unsigned at = 0; at < LANES<T>; ++at) {
        pack.at[at] = narrow<T>(Op::of(widen(pack.at[at]), words.alpha, words.beta));
      }
      store_pack(y + first, pack);
      continue;
    }
    for (unsigned at = first; at < words.count; ++at) {
      y[at] = narrow<T>(Op::of(widen(x[at]), words.alpha, words.beta));
    }
  }
}

#define UNARY(label, Op)                                                                                \
  KERNEL(unary_##label##_f32, UnaryWords words, const float *x, float *y) { unary<Op>(words, x, y); }   \
  KERNEL(unary_##label##_f16, UnaryWords words, const half_t *x, half_t *y) { unary<Op>(words, x, y); }

FUNCTIONS(UNARY)

struct Sub {
  FUNCTION float of(float a, float b) { return a - b; }
};
struct Mul {
  FUNCTION float of(float a, float b) { return a * b; }
};
struct Div {
  FUNCTION float of(float a, float b) { return a / b; }
};
struct Pow {
  FUNCTION float of(float a, float b) { return powf(a, b); }
};

/// Both operands as they lie, or one of them a single number: a step is 1 or 0.
struct FlatWords {
  unsigned count, a_step, b_step;
};

template <class T>
FUNCTION Pack<T> load_or_repeat(const T *from, unsigned first, unsigned step) {
  if (step != 0) return load_pack(from + first);
  Pack<T> pack;
  UNROLL for (unsigned at = 0; at < LANES<T>; ++at) pack.at[at] = from[0];
  return pack;
}

template <class Op, class T>
FUNCTION void flat(const FlatWords &words, const T *a, const T *b, T *y) {
  EACH_THREAD {
    const unsigned first = LANES<T> * global_thread();
    if (first + LANES<T> <= words.count) {
      Pack<T> left = load_or_repeat(a, first, words.a_step);
      const Pack<T> right = load_or_repeat(b, first, words.b_step);
      UNROLL for (unsigned at = 0; at < LANES<T>; ++at) {
        left.at[at] = narrow<T>(Op::of(widen(left.at[at]), widen(right.at[at])));
      }
      store_pack(y + first, left);
      continue;
    }
    for (unsigned at = first; at < words.count; ++at) {
      y[at] = narrow<T>(Op::of(widen(a[at * words.a_step]), widen(b[at * words.b_step])));
    }
  }
}

/// Operands repeated along some dimensions: there their strides are 0. The result is dense.
struct BinaryWords {
  unsigned count, rank;
  unsigned dimensions[MOST_DIMENSIONS], a[MOST_DIMENSIONS], b[MOST_DIMENSIONS];
};

template <class Op, class T>
FUNCTION void binary(const BinaryWords &words, const T *a, const T *b, T *y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    unsigned rest = at, left = 0, right = 0;
    UNROLL for (unsigned axis = MOST_DIMENSIONS; axis-- > 0;) {
      if (axis >= words.rank) continue;
      const unsigned index = rest % words.dimensions[axis];
      rest /= words.dimensions[axis];
      left += index * words.a[axis];
      right += index * words.b[axis];
    }
    y[at] = narrow<T>(Op::of(widen(a[left]), widen(b[right])));
  }
}

#define BINARY_OF(label, Op, T, suffix)                                                      \
  KERNEL(flat_##label##_##suffix, FlatWords words, const T *a, const T *b, T *y) {           \
    flat<Op>(words, a, b, y);                                                                \
  }                                                                                          \
  KERNEL(binary_##label##_##suffix, BinaryWords words, const T *a, const T *b, T *y) {       \
    binary<Op>(words, a, b, y);                                                              \
  }
#define BINARY(label, Op)             \
  BINARY_OF(label, Op, float, f32)    \
  BINARY_OF(label, Op, half_t, f16)

BINARY(add, Add)
BINARY(sub, Sub)
BINARY(mul, Mul)
BINARY(div, Div)
BINARY(pow, Pow)
BINARY(min, Less)
BINARY(max, Greater)

/// What follows a convolution or a matrix product, in one pass: act(x * scale[c] + bias[c] + residual). Each of the
/// three may be absent. `inner` numbers lie side by side in one channel.
struct ChannelsWords {
  unsigned count, channels, inner;
  float alpha, beta;
};

template <class Op, class T>
FUNCTION T channel_value(const ChannelsWords &words, T x, float scale, float bias, float residual) {
  return narrow<T>(Op::of(widen(x) * scale + bias + residual, words.alpha, words.beta));
}

template <class Op, class T>
FUNCTION void channels(const ChannelsWords &words, const T *x, const float *scale, const float *bias,
                       const T *residual, T *y) {
  EACH_THREAD {
    const unsigned first = LANES<T> * global_thread();
    // Neighbours share their channel where a channel is whole packs.
    if (words.inner % LANES<T> == 0 && first < words.count) {
      const unsigned channel = first / words.inner % words.channels;
      const float factor = scale ? scale[channel] : 1.0f, term = bias ? bias[channel] : 0.0f;
      Pack<T> pack = load_pack(x + first);
      const Pack<T> more = residual ? load_pack(residual + first) : pack;
      UNROLL for (unsigned at = 0; at < LANES<T>; ++at) {
        pack.at[at] = channel_value<Op>(words, pack.at[at], factor, term, residual ? widen(more.at[at]) : 0.0f);
      }
      store_pack(y + first, pack);
      continue;
    }
    for (unsigned at = first; at < words.count && at < first + LANES<T>; ++at) {
      const unsigned channel = at / words.inner % words.channels;
      y[at] = channel_value<Op>(words, x[at], scale ? scale[channel] : 1.0f, bias ? bias[channel] : 0.0f,
                                residual ? widen(residual[at]) : 0.0f);
    }
  }
}

#define CHANNELS_OF(label, Op, T, suffix)                                                            \
  KERNEL(channels_##label##_##suffix, ChannelsWords words, const T *x, const float *scale,           \
         const float *bias, const T *residual, T *y) {                                               \
    channels<Op>(words, x, scale, bias, residual, y);                                                \
  }
#define CHANNELS(label, Op)             \
  CHANNELS_OF(label, Op, float, f32)    \
  CHANNELS_OF(label, Op, half_t, f16)

FUNCTIONS(CHANNELS)
