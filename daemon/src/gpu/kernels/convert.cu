// Numbers of one type as numbers of another: Cast, QuantizeLinear, DequantizeLinear.
//
// Geometry: one number a thread, blocks = ceil(numbers / BLOCK). No shared memory.

struct CastWords {
  unsigned count;
};

/// A truth value: 0 or 1.
struct bool8_t {
  unsigned char value;
};

/// The nearest whole number towards zero, or the type's end where that lies beyond; zero for what is no number.
template <class To>
FUNCTION To truncated(float value, float low, float above, To lowest, To highest) {
  if (value != value) return 0;
  return value <= low ? lowest : value >= above ? highest : To(value);
}

/// From single precision and from whole numbers, which must not take the way through single precision.
template <class To>
struct Cast;
template <>
struct Cast<float> {
  FUNCTION float of(float value) { return value; }
  FUNCTION float of(long long value) { return float(value); }
};
template <>
struct Cast<half_t> {
  FUNCTION half_t of(float value) { return narrow_half(value); }
  FUNCTION half_t of(long long value) { return narrow_half(float(value)); }
};
template <>
struct Cast<int> {
  FUNCTION int of(float value) { return truncated<int>(value, -2147483648.0f, 2147483648.0f, -2147483647 - 1, 2147483647); }
  FUNCTION int of(long long value) { return int(value); }
};
template <>
struct Cast<long long> {
  FUNCTION long long of(float value) {
    constexpr long long MOST = 9223372036854775807ll;
    return truncated<long long>(value, -9223372036854775808.0f, 9223372036854775808.0f, -MOST - 1, MOST);
  }
  FUNCTION long long of(long long value) { return value; }
};
template <>
struct Cast<unsigned char> {
  FUNCTION unsigned char of(float value) { return truncated<unsigned char>(value, 0.0f, 255.0f, 0, 255); }
  FUNCTION unsigned char of(long long value) { return (unsigned char)value; }
};
template <>
struct Cast<signed char> {
  FUNCTION signed char of(float value) { return truncated<signed char>(value, -128.0f, 127.0f, -128, 127); }
  FUNCTION signed char of(long long value) { return (signed char)value; }
};
template <>
struct Cast<bool8_t> {
  FUNCTION bool8_t of(float value) { return {(unsigned char)(value != 0.0f)}; }
  FUNCTION bool8_t of(long long value) { return {(unsigned char)(value != 0)}; }
};

FUNCTION float read(float value) { return value; }
FUNCTION float read(half_t value) { return widen(value); }
FUNCTION long long read(int value) { return value; }
FUNCTION long long read(long long value) { return value; }
FUNCTION long long read(unsigned char value) { return value; }
FUNCTION long long read(signed char value) { return value; }
FUNCTION long long read(bool8_t value) { return value.value; }

template <class From, class To>
FUNCTION void cast(const CastWords &words, const From *RESTRICT x, To *RESTRICT y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at < words.count) y[at] = Cast<To>::of(read(x[at]));
  }
}

#define CAST(from, From, to, To) \
  KERNEL(cast_##from##_##to, CastWords words, const From *x, To *y) { cast(words, x, y); }
#define CASTS(from, From)                   \
  CAST(from, From, f32, float)              \
  CAST(from, From, f16, half_t)             \
  CAST(from, From, i32, int)                \
  CAST(from, From, i64, long long)          \
  CAST(from, From, u8, unsigned char)       \
  CAST(from, From, i8, signed char)         \
  CAST(from, From, bool, bool8_t)

CASTS(f32, float)
CASTS(f16, half_t)
CASTS(i32, int)
CASTS(i64, long long)
CASTS(u8, unsigned char)
CASTS(i8, signed char)
CASTS(bool, bool8_t)

/// `inner` numbers lie side by side under one scale; one channel is a scale for the whole tensor.
struct QuantizeWords {
  unsigned count, channels, inner;
  float lowest, highest;
};

template <class T, class Q>
FUNCTION void quantize(const QuantizeWords &words, const T *x, const float *scale, const Q *zero, Q *q) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const unsigned channel = at / words.inner % words.channels;
    // Half-way cases go to the even number, as the operator says.
    const float level = rintf(widen(x[at]) / scale[channel]) + (zero ? float(zero[channel]) : 0.0f);
    q[at] = truncated<Q>(level, words.lowest, words.highest, Q(words.lowest), Q(words.highest));
  }
}

struct DequantizeWords {
  unsigned count, channels, inner;
};

template <class Q, class T>
FUNCTION void dequantize(const DequantizeWords &words, const Q *q, const float *scale, const Q *zero, T *y) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const unsigned channel = at / words.inner % words.channels;
    const int level = int(q[at]) - (zero ? int(zero[channel]) : 0);
    y[at] = narrow<T>(float(level) * scale[channel]);
  }
}

#define QUANTIZED(Q, q, T, t)                                                                            \
  KERNEL(quantize_##t##_##q, QuantizeWords words, const T *x, const float *scale, const Q *zero, Q *y) { \
    quantize(words, x, scale, zero, y);                                                                  \
  }                                                                                                      \
  KERNEL(dequantize_##q##_##t, DequantizeWords words, const Q *x, const float *scale, const Q *zero, T *y) { \
    dequantize(words, x, scale, zero, y);                                                                \
  }

QUANTIZED(signed char, i8, float, f32)
QUANTIZED(signed char, i8, half_t, f16)
QUANTIZED(unsigned char, u8, float, f32)
QUANTIZED(unsigned char, u8, half_t, f16)
