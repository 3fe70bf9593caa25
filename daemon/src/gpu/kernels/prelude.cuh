// What every kernel file builds on. It stands before the file's text, so that nothing is included at run time, where no
// CUDA headers may be.
//
// Every launch is one-dimensional: BLOCK threads in a block, and as many blocks as the work needs. The first parameter
// of a kernel is a structure of 4-byte words, the others are pointers, aligned to 16 bytes.
//
// The same text compiles for the host, where a block is a loop over its threads. So a kernel is a row of phases, and
// what a thread knows from one phase to the next has to be said:
//
//   EACH_THREAD { }        what every thread does; without a barrier before it, so only as the first phase
//   PHASE { }              the same, behind a barrier: all that the phases before it wrote is seen
//   SHARED(T, name, n)     memory of the block; only within phases
//   PER_THREAD(T, name)    a value that each thread keeps over phases, as MINE(name); only within phases
//
// Between phases stands only what is the same for the whole block; in a phase, `continue` ends it for a thread.

constexpr unsigned BLOCK = 256;

/// Most dimensions of a tensor that is walked by strides.
constexpr unsigned MOST_DIMENSIONS = 6;

#ifdef PROOFLOAD_HOST
#include "shim.h"
#else
#define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(BLOCK) name(__VA_ARGS__)
#define FUNCTION static __device__ __forceinline__
#define FUNCTION_OF_OBJECT __device__ __forceinline__
#define RESTRICT __restrict__
#define EACH_THREAD for (int once_ = 0; once_ < 1; ++once_)
#define PHASE for (int once_ = (__syncthreads(), 0); once_ < 1; ++once_)
#define SHARED(T, name, n) __shared__ T name[n]
#define PER_THREAD(T, name) T name
#define MINE(name) name
#define ATOMIC_ADD(place, value) atomicAdd(&(place), value)
/// Before a loop over arrays of words or registers, which have no addresses: its index has to be known when compiled.
#define UNROLL _Pragma("unroll")

/// IEEE 754 half precision: a number as it lies in memory. Arithmetic is in single precision.
struct half_t {
  unsigned short bits;
};

FUNCTION float widen(half_t value) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
}

FUNCTION half_t narrow_half(float value) {
  half_t half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(value));
  return half;
}

FUNCTION float float_of_bits(unsigned bits) { return __uint_as_float(bits); }
FUNCTION unsigned bits_of_float(float value) { return __float_as_uint(value); }
#endif

FUNCTION float widen(float value) { return value; }

/// What a number of single precision is as it lies in memory.
template <class T>
struct Stored;
template <>
struct Stored<float> {
  FUNCTION float of(float value) { return value; }
};
template <>
struct Stored<half_t> {
  FUNCTION half_t of(float value) { return narrow_half(value); }
};

template <class T>
FUNCTION T narrow(float value) {
  return Stored<T>::of(value);
}

/// A double that came as two words.
FUNCTION double double_of(unsigned low, unsigned high) {
  union {
    unsigned words[2];
    double value;
  } both;
  both.words[0] = low;
  both.words[1] = high;
  return both.value;
}

/// This thread's number in the whole grid. Counts are below 2^31, so it cannot wrap.
FUNCTION unsigned global_thread() { return blockIdx.x * BLOCK + threadIdx.x; }

/// How many neighbours a thread reads and writes at once: 16 bytes.
template <class T>
constexpr unsigned LANES = 16 / sizeof(T);

/// 16 bytes of neighbours.
template <class T>
struct alignas(16) Pack {
  T at[LANES<T>];
};

template <class T>
FUNCTION Pack<T> load_pack(const T *from) {
  return *reinterpret_cast<const Pack<T> *>(from);
}

template <class T>
FUNCTION void store_pack(T *to, const Pack<T> &pack) {
  *reinterpret_cast<Pack<T> *>(to) = pack;
}

/// Joins two numbers; whether something is lost in that.
struct Add {
  static constexpr bool ROUNDS = true;
  FUNCTION float of(float a, float b) { return a + b; }
};
struct Greater {
  static constexpr bool ROUNDS = false;
  // A NaN stays one, as in the CPU's operators.
  FUNCTION float of(float a, float b) { return a > b || a != a ? a : b; }
};
struct Less {
  static constexpr bool ROUNDS = false;
  FUNCTION float of(float a, float b) { return a < b || a != a ? a : b; }
};

/// Folds the block's BLOCK values into the first of them, half by half. Ends behind a phase that wrote.
template <class Op, class Values>
FUNCTION void fold(Values &values) {
  for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
    PHASE {
      if (threadIdx.x < half) values[threadIdx.x] = Op::of(values[threadIdx.x], values[threadIdx.x + half]);
    }
  }
}
