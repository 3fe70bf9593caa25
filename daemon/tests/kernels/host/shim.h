// The kernels' vocabulary for the host: a block is a loop over its threads, one for each phase. It is stricter than a
// GPU: in another phase's memory, beyond an end, or in what another thread of the same phase writes, nobody looks
// unnoticed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#define FUNCTION static inline
#define FUNCTION_OF_OBJECT inline
#define RESTRICT __restrict__

struct uint2 {
  unsigned x, y;
};

struct Index {
  unsigned x;
};

/// What is no number of a thread or block: outside of phases there is none.
constexpr unsigned NOWHERE = 0xFFFFFFFFu;

inline Index threadIdx = {NOWHERE}, blockIdx = {NOWHERE};

namespace host {

/// In which order a block's threads, and a grid's blocks, have their turn. A GPU promises none.
enum class Order { Forward, Backward, Scattered };

inline Order order = Order::Forward;
inline bool in_phase = false;
/// Numbers the phases of all launches: what was touched in another phase lies behind a barrier.
inline unsigned long long phase = 0;
/// Whether the block that runs has had a phase.
inline bool begun = false;

[[noreturn]] inline void fail(const char *what) {
  std::fprintf(stderr, "block %u, thread %u: %s\n", blockIdx.x, threadIdx.x, what);
  std::abort();
}

/// Which of `count` has the turn number `turn`.
inline unsigned in_order(unsigned turn, unsigned count) {
  switch (order) {
    case Order::Backward:
      return count - 1 - turn;
    case Order::Scattered: {
      // A step that shares no factor with the count reaches everyone once.
      unsigned long long step = count / 2 + count / 7 + 1;
      auto divisor = [](unsigned long long a, unsigned long long b) {
        while (b != 0) { auto rest = a % b; a = b; b = rest; }
        return a;
      };
      while (divisor(step, count) != 1) ++step;
      return unsigned((turn * step + count / 3) % count);
    }
    default:
      return turn;
  }
}

/// A phase's threads, one after the other.
class Turns {
 public:
  explicit Turns(bool first) {
    if (in_phase) fail("a phase within a phase");
    if (first && begun) fail("a phase without a barrier that is not the first");
    begun = in_phase = true;
    ++phase;
  }
  ~Turns() {
    in_phase = false;
    threadIdx.x = NOWHERE;
  }
  bool next() {
    if (turn_ == BLOCK) return false;
    threadIdx.x = in_order(turn_++, BLOCK);
    return true;
  }

 private:
  unsigned turn_ = 0;
};

/// What a phase may look at only from within.
inline void must_be_in_phase() {
  if (!in_phase) fail("memory of threads is used outside of a phase");
}

/// One element of shared memory, which knows who touched it in this phase.
template <class T>
struct Cell {
  T value;
  unsigned long long written_in, read_in;
  unsigned writer, reader;
  bool atomically;
};

template <class T>
class Access {
 public:
  explicit Access(Cell<T> &cell) : cell_(cell) {}
  operator T() const {
    if (cell_.written_in == 0) fail("shared memory is read that nobody has written");
    if (cell_.written_in == phase && cell_.writer != threadIdx.x) fail("read what another thread writes in this phase");
    // Two readers: no thread may write this any more.
    cell_.reader = cell_.read_in == phase && cell_.reader != threadIdx.x ? NOWHERE : threadIdx.x;
    cell_.read_in = phase;
    return cell_.value;
  }
  void operator=(T value) { write(value, false); }
  void operator=(const Access &other) { write(T(other), false); }
  void add(T value) {
    if (cell_.written_in == 0) fail("shared memory is added to that nobody has written");
    write(T(cell_.value + value), true);
  }

 private:
  void write(T value, bool atomically) {
    const bool both = atomically && cell_.atomically;
    if (cell_.written_in == phase && cell_.writer != threadIdx.x && !both) fail("two threads write the same in a phase");
    if (cell_.read_in == phase && cell_.reader != threadIdx.x) fail("write what another thread reads in this phase");
    cell_.value = value;
    cell_.written_in = phase;
    cell_.writer = threadIdx.x;
    cell_.atomically = atomically;
  }
  Cell<T> &cell_;
};

template <class T, size_t N>
class Shared {
 public:
  Shared() : cells_() {}
  Access<T> operator[](size_t at) {
    must_be_in_phase();
    if (at >= N) fail("beyond the end of shared memory");
    return Access<T>(cells_[at]);
  }

 private:
  Cell<T> cells_[N];
};

template <class T, unsigned THREADS>
class PerThread {
 public:
  /// Bits that are a NaN, or a large number: what is used before it was set shows.
  PerThread() { std::memset(static_cast<void *>(values_), 0xFF, sizeof values_); }
  T &mine() {
    must_be_in_phase();
    return values_[threadIdx.x];
  }

 private:
  T values_[THREADS];
};

template <class T>
void atomic_add(Access<T> place, T value) {
  place.add(value);
}
inline void atomic_add(unsigned &place, unsigned value) { place += value; }

/// A kernel by name, and how to call it when its arguments are known only at run time.
struct Entry {
  const char *name, *file;
  size_t words_bytes, pointers;
  void (*kernel)();
  void (*call)(void (*)(), const void *, void *const *);
  Entry *next;
};

inline Entry *entries = nullptr;

template <class Words, class... Values, size_t... At>
void call_with(void (*kernel)(), const void *bytes, void *const *pointers, std::index_sequence<At...>) {
  Words words;
  std::memcpy(&words, bytes, sizeof words);
  reinterpret_cast<void (*)(Words, Values *...)>(kernel)(words, static_cast<Values *>(pointers[At])...);
}

template <class Words, class... Values>
void call(void (*kernel)(), const void *bytes, void *const *pointers) {
  call_with<Words, Values...>(kernel, bytes, pointers, std::index_sequence_for<Values...>());
}

/// Makes a kernel known.
struct Registered {
  template <class Words, class... Values>
  Registered(const char *name, const char *file, void (*kernel)(Words, Values *...)) {
    static_assert(alignof(Words) == 4, "words of 4 bytes");
    entry = {name, file, sizeof(Words), sizeof...(Values), reinterpret_cast<void (*)()>(kernel), &call<Words, Values...>,
             entries};
    entries = &entry;
  }
  Entry entry;
};

}  // namespace host

#define KERNEL(name, ...)                                     \
  extern "C" void name(__VA_ARGS__);                          \
  static host::Registered registered_##name(#name, __FILE__, name);     \
  extern "C" void name(__VA_ARGS__)
#define EACH_THREAD for (host::Turns turns_(true); turns_.next();)
#define PHASE for (host::Turns turns_(false); turns_.next();)
#define SHARED(T, name, n) host::Shared<T, n> name
#define PER_THREAD(T, name) host::PerThread<T, BLOCK> name
#define MINE(name) name.mine()
#define ATOMIC_ADD(place, value) host::atomic_add(place, value)
#define UNROLL

struct half_t {
  unsigned short bits;
};

static inline float float_of_bits(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline unsigned bits_of_float(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Halves by arithmetic, not by the compiler's type of that name, which not every compiler has.
static inline float widen(half_t half) {
  const unsigned sign = unsigned(half.bits & 0x8000u) << 16, exponent = half.bits >> 10 & 31u, digits = half.bits & 1023u;
  if (exponent == 31) return float_of_bits(sign | 0x7F800000u | digits << 13);
  if (exponent != 0) return float_of_bits(sign | (exponent + 112) << 23 | digits << 13);
  const float small = float(digits) * 5.9604644775390625e-08f;
  return sign != 0 ? -small : small;
}

/// To the nearest half, the even one of two that are as near.
static inline half_t narrow_half(float value) {
  const unsigned bits = bits_of_float(value), size = bits & 0x7FFFFFFFu;
  const unsigned sign = bits >> 16 & 0x8000u;
  unsigned half;
  if (size > 0x7F800000u) {
    half = 0x7FFF;
  } else if (size >= 0x47800000u) {
    half = 0x7C00;
  } else if (size >= 0x38800000u) {
    // Rebased, and the digits that go rounded into those that stay; a carry goes on into the exponent.
    const unsigned rebased = size - 0x38000000u;
    half = (rebased + 0xFFFu + (rebased >> 13 & 1u)) >> 13;
  } else {
    // Whole multiples of the smallest half: the current rounding mode is to the nearest even.
    half = unsigned(std::nearbyint(float_of_bits(size) * 16777216.0f));
  }
  return {static_cast<unsigned short>(sign | half)};
}
