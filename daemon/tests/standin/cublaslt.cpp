// cuBLASLt's place: products of matrices that stand column by column, by plain loops. What the real one does not say it takes
// is refused: other orders, epilogues, types.

#include <algorithm>
#include <cstring>

#include "numbers.h"
#include "standin.h"

using namespace standin;

namespace {

enum Status { SUCCESS = 0, NOT_INITIALIZED_ = 1, INVALID = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Type { R_32F = 0, R_16F = 2, R_8I = 3, R_32I = 10 };
enum Compute { COMPUTE_32F = 68, COMPUTE_32F_PEDANTIC = 69, COMPUTE_32I = 72, FAST_TF32 = 77 };
/// What its algorithms want, if they get so much.
constexpr size_t WORKSPACE_BYTES = 1 << 20;
constexpr uint64_t MAGIC = 0x5354414E44494E21;

struct Handle {};

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
  int batch = 1;
  int64_t stride = 0;
};

struct Description {
  int compute, scale;
  int transposed[2] = {0, 0};
};

struct Preference {
  size_t workspace_bytes = 0;
};

struct Algorithm {
  uint64_t data[8];
};

struct Result {
  Algorithm algorithm;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

Number number_of(int type) {
  switch (type) {
    case R_32F: return Number::F32;
    case R_16F: return Number::F16;
    case R_8I: return Number::I8;
    case R_32I: return Number::I32;
    default: refuse("cuBLASLt with type %d, which the stand-in does not know", type);
  }
}

/// A product with all that decides its algorithm.
struct Product {
  Description how;
  Layout a, b, c, d;

  uint64_t rows() const { return how.transposed[0] ? a.columns : a.rows; }
  uint64_t columns() const { return how.transposed[1] ? b.rows : b.columns; }
  uint64_t depth() const { return how.transposed[0] ? a.rows : a.columns; }

  uint64_t hash() const {
    uint64_t hash = MAGIC;
    const auto mix = [&](uint64_t value) { hash = (hash ^ value) * 0x100000001B3u; };
    for (const Layout *of : {&a, &b, &c, &d}) {
      for (uint64_t value : {uint64_t(of->type), of->rows, of->columns, uint64_t(of->leading), uint64_t(of->batch), uint64_t(of->stride)}) mix(value);
    }
    for (int value : {how.compute, how.scale, how.transposed[0], how.transposed[1]}) mix(uint64_t(value));
    return hash;
  }

  /// Whether the real one has an algorithm for it.
  bool is_supported() const {
    if (how.compute == COMPUTE_32I) {
      // Integers: the left one transposed, the right one not, everything in fours.
      const bool fours = rows() % 4 == 0 && depth() % 4 == 0 && a.leading % 4 == 0 && b.leading % 4 == 0;
      return a.type == R_8I && b.type == R_8I && d.type == R_32I && how.scale == R_32I && how.transposed[0] &&
             !how.transposed[1] && fours;
    }
    const bool sums = how.compute == COMPUTE_32F || how.compute == COMPUTE_32F_PEDANTIC || how.compute == FAST_TF32;
    const bool reals = a.type == R_32F || a.type == R_16F;
    return sums && how.scale == R_32F && reals && b.type == a.type && (d.type == a.type || d.type == R_32F);
  }

  bool fits() const {
    const uint64_t inner = how.transposed[1] ? b.columns : b.rows;
    const bool batches = a.batch == d.batch && b.batch == d.batch && c.batch == d.batch;
    return depth() == inner && d.rows == rows() && d.columns == columns() && c.rows == d.rows && c.columns == d.columns && batches;
  }
};

size_t reach(const Layout &of) {
  const size_t one = size_t(of.leading) * (of.columns - 1) + of.rows;
  return (size_t(of.batch - 1) * size_t(of.stride) + one) * bytes_of(number_of(of.type));
}

Product product_of(void *how, void *a, void *b, void *c, void *d, const char *call) {
  const auto layout = [&](void *of) { return get<Layout>("matrix layout", of, call); };
  return {get<Description>("matrix product", how, call), layout(a), layout(b), layout(c), layout(d)};
}

void multiply(const Product &of, float alpha, const void *a, const void *b, float beta, const void *c, void *d) {
  const bool tf32 = of.how.compute == FAST_TF32;
  const Number left = number_of(of.a.type), right = number_of(of.b.type), result = number_of(of.d.type);
  for (int matrix = 0; matrix < of.d.batch; ++matrix) {
    const auto from = [&](const void *base, const Layout &layout, Number number) {
      const size_t count = size_t(layout.leading) * (layout.columns - 1) + layout.rows;
      const size_t skipped = size_t(matrix) * size_t(layout.stride) * bytes_of(number);
      return floats(static_cast<const unsigned char *>(base) + skipped, count, number, tf32);
    };
    const std::vector<float> x = from(a, of.a, left), y = from(b, of.b, right);
    const std::vector<float> before = beta != 0.0f ? from(c, of.c, number_of(of.c.type)) : std::vector<float>();
    std::vector<float> sums(of.rows());
    for (uint64_t column = 0; column < of.columns(); ++column) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (uint64_t step = 0; step < of.depth(); ++step) {
        const float factor = of.how.transposed[1] ? y[step * of.b.leading + column] : y[column * of.b.leading + step];
        const size_t begin = of.how.transposed[0] ? step : step * of.a.leading;
        const size_t apart = of.how.transposed[0] ? size_t(of.a.leading) : 1;
        for (uint64_t row = 0; row < of.rows(); ++row) sums[row] += x[begin + row * apart] * factor;
      }
      for (uint64_t row = 0; row < of.rows(); ++row) {
        const float old = beta != 0.0f ? beta * before[column * of.c.leading + row] : 0.0f;
        const size_t at = size_t(matrix) * size_t(of.d.stride) + column * of.d.leading + row;
        put(d, at, alpha * sums[row] + old, result);
      }
    }
  }
}

template <class T>
T value_of(const void *from, size_t bytes, const char *call) {
  if (bytes != sizeof(T)) refuse("%s with a value of %zu bytes instead of %zu", call, bytes, sizeof(T));
  T value;
  std::memcpy(&value, from, bytes);
  return value;
}

}  // namespace

EXPORT int cublasLtCreate(void **handle) {
  Call call("cublasLtCreate");
  if (call.code != OK) return NOT_INITIALIZED_;
  *handle = make("cuBLASLt handle", std::make_shared<Handle>());
  return SUCCESS;
}

EXPORT int cublasLtDestroy(void *handle) {
  gone("cuBLASLt handle", handle, "cublasLtDestroy");
  return SUCCESS;
}

EXPORT int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  number_of(type);
  if (leading < int64_t(rows)) return INVALID;
  *layout = make("matrix layout", std::make_shared<Layout>(Layout{type, rows, columns, leading}));
  return SUCCESS;
}

EXPORT int cublasLtMatrixLayoutSetAttribute(void *handle, int attribute, const void *from, size_t bytes) {
  const char *call = "cublasLtMatrixLayoutSetAttribute";
  Layout &layout = get<Layout>("matrix layout", handle, call);
  switch (attribute) {
    case 5: layout.batch = value_of<int32_t>(from, bytes, call); return layout.batch > 0 ? SUCCESS : INVALID;
    case 6: layout.stride = value_of<int64_t>(from, bytes, call); return SUCCESS;
    default: refuse("%s %d, which the stand-in does not know", call, attribute);
  }
}

EXPORT int cublasLtMatrixLayoutDestroy(void *layout) {
  gone("matrix layout", layout, "cublasLtMatrixLayoutDestroy");
  return SUCCESS;
}

EXPORT int cublasLtMatmulDescCreate(void **handle, int compute, int scale) {
  *handle = make("matrix product", std::make_shared<Description>(Description{compute, scale}));
  return SUCCESS;
}

EXPORT int cublasLtMatmulDescSetAttribute(void *handle, int attribute, const void *from, size_t bytes) {
  const char *call = "cublasLtMatmulDescSetAttribute";
  Description &how = get<Description>("matrix product", handle, call);
  if (attribute != 3 && attribute != 4) refuse("%s %d, which the stand-in does not know", call, attribute);
  const auto operation = value_of<int32_t>(from, bytes, call);
  if (operation != 0 && operation != 1) return INVALID;
  how.transposed[attribute - 3] = operation;
  return SUCCESS;
}

EXPORT int cublasLtMatmulDescDestroy(void *handle) {
  gone("matrix product", handle, "cublasLtMatmulDescDestroy");
  return SUCCESS;
}

EXPORT int cublasLtMatmulPreferenceCreate(void **handle) {
  *handle = make("preference", std::make_shared<Preference>());
  return SUCCESS;
}

EXPORT int cublasLtMatmulPreferenceSetAttribute(void *handle, int attribute, const void *from, size_t bytes) {
  const char *call = "cublasLtMatmulPreferenceSetAttribute";
  Preference &preference = get<Preference>("preference", handle, call);
  if (attribute != 1) refuse("%s %d, which the stand-in does not know", call, attribute);
  preference.workspace_bytes = value_of<uint64_t>(from, bytes, call);
  return SUCCESS;
}

EXPORT int cublasLtMatmulPreferenceDestroy(void *handle) {
  gone("preference", handle, "cublasLtMatmulPreferenceDestroy");
  return SUCCESS;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(void *handle, void *how, void *a, void *b, void *c, void *d, void *preference,
                                          int wanted, Result *results, int *found) {
  const char *call = "cublasLtMatmulAlgoGetHeuristic";
  get<Handle>("cuBLASLt handle", handle, call);
  const Product product = product_of(how, a, b, c, d, call);
  const size_t most = get<Preference>("preference", preference, call).workspace_bytes;
  *found = 0;
  if (wanted < 1 || !product.fits()) return INVALID;
  if (!product.is_supported() || asked_with("UNSUPPORTED", "cublaslt")) return NOT_SUPPORTED;
  Result result = {};
  result.workspace_bytes = std::min(most, WORKSPACE_BYTES);
  result.algorithm.data[0] = product.hash();
  result.algorithm.data[1] = result.workspace_bytes;
  results[0] = result;
  *found = 1;
  return SUCCESS;
}

EXPORT int cublasLtMatmul(void *handle, void *how, const void *alpha, const void *a, void *a_layout, const void *b,
                          void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                          const Algorithm *algorithm, void *workspace, size_t workspace_bytes, void *stream) {
  Call call("cublasLtMatmul");
  if (call.code != OK) return EXECUTION_FAILED;
  get<Handle>("cuBLASLt handle", handle, call.name);
  const Product product = product_of(how, a_layout, b_layout, c_layout, d_layout, call.name);
  if (!product.fits() || !product.is_supported()) return misuse(INVALID, call.name, "layouts that do not fit");
  if (algorithm && algorithm->data[0] != product.hash()) return misuse(INVALID, call.name, "an algorithm of another product");
  const size_t wanted = algorithm ? algorithm->data[1] : 0;
  if (workspace_bytes < wanted) return misuse(INVALID, call.name, "less scratch memory than the algorithm wants");
  if (wanted > 0) must_be_device(workspace, workspace_bytes, call.name);
  if (wanted > 0 && uintptr_t(workspace) % 256 != 0) refuse("scratch memory that is not aligned to 256 bytes");
  for (const void *matrix : {a, b, const_cast<const void *>(d)}) {
    if (uintptr_t(matrix) % 16 != 0) refuse("a matrix that is not aligned to 16 bytes");
  }
  must_be_device(a, reach(product.a), "the left matrix");
  must_be_device(b, reach(product.b), "the right matrix");
  must_be_device(d, reach(product.d), "the product");
  const auto overlaps = [&](const void *at, size_t bytes) {
    return uintptr_t(at) < uintptr_t(d) + reach(product.d) && uintptr_t(d) < uintptr_t(at) + bytes;
  };
  if (overlaps(a, reach(product.a)) || overlaps(b, reach(product.b))) refuse("a product that overwrites its factors");
  float factors[2];
  std::memcpy(&factors[0], alpha, 4);
  std::memcpy(&factors[1], beta, 4);
  if (product.how.scale == R_32I) {
    int32_t whole[2];
    std::memcpy(&whole[0], alpha, 4);
    std::memcpy(&whole[1], beta, 4);
    factors[0] = float(whole[0]);
    factors[1] = float(whole[1]);
  }
  submit(stream, "a product of matrices", [=] {
    if (wanted > 0) std::memset(workspace, POISON, wanted);
    multiply(product, factors[0], a, b, factors[1], c, d);
  });
  return SUCCESS;
}
