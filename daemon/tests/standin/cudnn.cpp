// cuDNN's place: convolutions and their gradients to the input, of pictures channel by channel, by plain loops.

#include <algorithm>
#include <cstring>
#include <set>

#include "numbers.h"
#include "standin.h"

using namespace standin;

namespace {

enum Status { SUCCESS = 0, NOT_INITIALIZED_ = 1001, BAD_PARAM = 2000, SHAPE_MISMATCH = 2008, NOT_SUPPORTED = 3000, EXECUTION_FAILED = 5000 };
enum Math { DEFAULT_MATH = 0, TENSOR_OP_MATH = 1, FMA_MATH = 3 };
/// What the faster of the two algorithms wants.
constexpr size_t WORKSPACE_BYTES = 1 << 20;
constexpr int FASTER = 1, PLAIN = 0, ABSENT = 5;

struct Handle {
  void *stream = nullptr;
};

struct Tensor {
  int type = -1;
  int sizes[4] = {0, 0, 0, 0};
  size_t count() const { return size_t(sizes[0]) * size_t(sizes[1]) * size_t(sizes[2]) * size_t(sizes[3]); }
};

struct Description {
  int pad[2] = {0, 0}, stride[2] = {0, 0}, apart[2] = {0, 0};
  int type = -1, math = DEFAULT_MATH, groups = 1;
};

struct Performance {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math;
  int reserved[3];
};

Number number_of(int type) {
  if (type != 0 && type != 2) refuse("cuDNN with type %d, which the stand-in does not know", type);
  return type == 0 ? Number::F32 : Number::F16;
}

size_t bytes(const Tensor &of) { return of.count() * bytes_of(number_of(of.type)); }

/// The picture before, the weights, the picture after, and how one becomes the other.
struct Convolution {
  Tensor x, w, y;
  Description how;

  int fits() const {
    if (x.type < 0 || w.type < 0 || y.type < 0 || how.type < 0) return BAD_PARAM;
    if (x.type != w.type || x.type != y.type || how.type != 0) return BAD_PARAM;
    if (x.sizes[1] != w.sizes[1] * how.groups || w.sizes[0] % how.groups != 0) return SHAPE_MISMATCH;
    if (y.sizes[0] != x.sizes[0] || y.sizes[1] != w.sizes[0]) return SHAPE_MISMATCH;
    for (int side = 0; side < 2; ++side) {
      const int filter = (w.sizes[2 + side] - 1) * how.apart[side] + 1, whole = x.sizes[2 + side] + 2 * how.pad[side];
      if (whole < filter || (whole - filter) / how.stride[side] + 1 != y.sizes[2 + side]) return SHAPE_MISMATCH;
    }
    return SUCCESS;
  }

  /// Calls `row` for each line of y with each line of x that a weight brings together: where both begin, the column of x that
  /// column 0 of y sees, and the weight.
  template <class Row>
  void each_row(const std::vector<float> &weights, const Row &row) const {
    const int filters = w.sizes[0] / how.groups, channels = w.sizes[1];
    for (int n = 0; n < x.sizes[0]; ++n)
      for (int filter = 0; filter < w.sizes[0]; ++filter)
        for (int channel = 0; channel < channels; ++channel)
          for (int r = 0; r < w.sizes[2]; ++r)
            for (int s = 0; s < w.sizes[3]; ++s) {
              const float weight = weights[size_t(((filter * channels + channel) * w.sizes[2] + r) * w.sizes[3] + s)];
              const int from = filter / filters * channels + channel, shift = s * how.apart[1] - how.pad[1];
              for (int line = 0; line < y.sizes[2]; ++line) {
                const int above = line * how.stride[0] + r * how.apart[0] - how.pad[0];
                if (above < 0 || above >= x.sizes[2]) continue;
                const size_t at_y = (size_t(n) * y.sizes[1] + filter) * y.sizes[2] + line;
                const size_t at_x = (size_t(n) * x.sizes[1] + from) * x.sizes[2] + above;
                row(at_y * y.sizes[3], at_x * x.sizes[3], shift, weight);
              }
            }
  }

  /// The columns of y that see a column of x.
  void columns(int shift, int &begin, int &end) const {
    const int stride = how.stride[1];
    begin = shift < 0 ? (-shift + stride - 1) / stride : 0;
    end = std::min(y.sizes[3], x.sizes[3] - shift <= 0 ? 0 : (x.sizes[3] - shift + stride - 1) / stride);
  }

  bool tf32() const { return how.math != FMA_MATH; }

  void forward(float alpha, const void *from, const void *weights, void *to) const {
    const Number number = number_of(x.type);
    const std::vector<float> in = floats(from, x.count(), number, tf32()), by = floats(weights, w.count(), number, tf32());
    std::vector<float> out(y.count(), 0.0f);
    each_row(by, [&](size_t at_y, size_t at_x, int shift, float weight) {
      int begin, end;
      columns(shift, begin, end);
      const int stride = how.stride[1];
      for (int column = begin; column < end; ++column) out[at_y + column] += weight * in[at_x + column * stride + shift];
    });
    for (size_t at = 0; at < out.size(); ++at) put(to, at, alpha * out[at], number);
  }

  void backward(float alpha, const void *from, const void *weights, void *to) const {
    const Number number = number_of(x.type);
    const std::vector<float> in = floats(from, y.count(), number, tf32()), by = floats(weights, w.count(), number, tf32());
    std::vector<float> out(x.count(), 0.0f);
    each_row(by, [&](size_t at_y, size_t at_x, int shift, float weight) {
      int begin, end;
      columns(shift, begin, end);
      const int stride = how.stride[1];
      for (int column = begin; column < end; ++column) out[at_x + column * stride + shift] += weight * in[at_y + column];
    });
    for (size_t at = 0; at < out.size(); ++at) put(to, at, alpha * out[at], number);
  }
};

Convolution convolution_of(void *x, void *w, void *how, void *y, const char *call) {
  return {get<Tensor>("tensor descriptor", x, call), get<Tensor>("filter descriptor", w, call), get<Tensor>("tensor descriptor", y, call),
          get<Description>("convolution descriptor", how, call)};
}

size_t wanted(int algorithm) { return algorithm == FASTER ? WORKSPACE_BYTES : 0; }

// A convolution's program is loaded when it first runs, which cannot be recorded.
std::set<std::pair<int, int>> &warm() {
  static auto *all = new std::set<std::pair<int, int>>;
  return *all;
}

/// The algorithms that there are, the fastest first, those that do not work last.
int found(const Convolution &of, size_t workspace_bytes, int most, Performance *results) {
  const bool none = asked_with("UNSUPPORTED", "cudnn");
  std::vector<Performance> all;
  const int math = of.how.math;
  if (!none && workspace_bytes >= WORKSPACE_BYTES) all.push_back({FASTER, SUCCESS, 0.1f, WORKSPACE_BYTES, 1, math, {}});
  if (!none) all.push_back({PLAIN, SUCCESS, 0.2f, 0, 1, math, {}});
  all.push_back({ABSENT, NOT_SUPPORTED, -1.0f, 0, 0, math, {}});
  const int count = std::min(most, int(all.size()));
  std::copy_n(all.begin(), count, results);
  for (const Performance &one : all) {
    if (one.status == SUCCESS) warm().insert({one.algorithm, of.x.type});
  }
  return count;
}

int search(void *handle, const Convolution &of, const void *from, const Tensor &from_tensor, const void *weights, void *to,
           const Tensor &to_tensor, int most, int *count, Performance *results, void *workspace, size_t workspace_bytes, const char *call) {
  const Handle &cudnn = get<Handle>("cuDNN handle", handle, call);
  if (is_capturing(cudnn.stream)) refuse("%s while its stream is recorded", call);
  *count = 0;
  if (const int status = of.fits()) return misuse(status, call, "sizes or types that do not fit");
  must_be_device(from, bytes(from_tensor), "the picture before");
  must_be_device(weights, bytes(of.w), "the weights");
  must_be_device(to, bytes(to_tensor), "the picture after");
  if (workspace_bytes > 0) must_be_device(workspace, workspace_bytes, "scratch memory");
  // It is timed alone, and what it computes of what is not there yet is nothing.
  if (synchronise_all(call) != OK) return EXECUTION_FAILED;
  std::memset(to, POISON, bytes(to_tensor));
  if (workspace_bytes > 0) std::memset(workspace, POISON, workspace_bytes);
  *count = found(of, workspace_bytes, most, results);
  return SUCCESS;
}

int compute(void *handle, bool forward, const Convolution &of, const void *alpha, const void *from, const Tensor &from_tensor,
            const void *weights, void *to, const Tensor &to_tensor, const void *beta, int algorithm, void *workspace,
            size_t workspace_bytes, const char *call) {
  const Handle &cudnn = get<Handle>("cuDNN handle", handle, call);
  if (const int status = of.fits()) return misuse(status, call, "sizes or types that do not fit");
  must_be_device(from, bytes(from_tensor), "the picture before");
  must_be_device(weights, bytes(of.w), "the weights");
  must_be_device(to, bytes(to_tensor), "the picture after");
  if (algorithm != FASTER && algorithm != PLAIN) return misuse(NOT_SUPPORTED, call, "an algorithm that was not found");
  const size_t scratch = wanted(algorithm);
  if (workspace_bytes < scratch) return misuse(BAD_PARAM, call, "less scratch memory than the algorithm wants");
  if (scratch > 0) must_be_device(workspace, workspace_bytes, "scratch memory");
  const bool cold = warm().insert({algorithm, of.x.type}).second;
  if (cold && is_capturing(cudnn.stream)) {
    spoil(cudnn.stream);
    return misuse(EXECUTION_FAILED, call, "loads a program while its stream is recorded");
  }
  float factors[2];
  std::memcpy(&factors[0], alpha, 4);
  std::memcpy(&factors[1], beta, 4);
  if (factors[1] != 0.0f) refuse("%s with a beta, which the stand-in does not know", call);
  submit(cudnn.stream, forward ? "a convolution" : "a transposed convolution", [=] {
    if (scratch > 0) std::memset(workspace, POISON, scratch);
    if (forward) {
      of.forward(factors[0], from, weights, to);
    } else {
      of.backward(factors[0], from, weights, to);
    }
  });
  return SUCCESS;
}

int set_sizes(Tensor &tensor, int type, int format, int n, int c, int h, int w) {
  if (format != 0) refuse("cuDNN with format %d, which the stand-in does not know", format);
  number_of(type);
  if (n < 1 || c < 1 || h < 1 || w < 1) return misuse(BAD_PARAM, "a descriptor", "a size that is not positive");
  tensor = {type, {n, c, h, w}};
  return SUCCESS;
}

}  // namespace

#define CUDNN(name)       \
  Call call(name);        \
  if (call.code != OK) return call.code == INVALID_CONTEXT ? NOT_INITIALIZED_ : EXECUTION_FAILED

EXPORT size_t cudnnGetVersion() { return 92100; }

EXPORT const char *cudnnGetErrorString(int) { return "an error of the stand-in"; }

EXPORT int cudnnCreate(void **handle) {
  CUDNN("cudnnCreate");
  *handle = make("cuDNN handle", std::make_shared<Handle>());
  return SUCCESS;
}

// Waits for the whole device, as the real one does.
EXPORT int cudnnDestroy(void *handle) {
  CUDNN("cudnnDestroy");
  gone("cuDNN handle", handle, call.name);
  return synchronise_all(call.name) == OK ? SUCCESS : EXECUTION_FAILED;
}

EXPORT int cudnnSetStream(void *handle, void *stream) {
  CUDNN("cudnnSetStream");
  live("stream", stream, call.name);
  get<Handle>("cuDNN handle", handle, call.name).stream = stream;
  return SUCCESS;
}

EXPORT int cudnnCreateTensorDescriptor(void **tensor) {
  *tensor = make("tensor descriptor", std::make_shared<Tensor>());
  return SUCCESS;
}

EXPORT int cudnnSetTensor4dDescriptor(void *tensor, int format, int type, int n, int c, int h, int w) {
  return set_sizes(get<Tensor>("tensor descriptor", tensor, "cudnnSetTensor4dDescriptor"), type, format, n, c, h, w);
}

EXPORT int cudnnDestroyTensorDescriptor(void *tensor) {
  gone("tensor descriptor", tensor, "cudnnDestroyTensorDescriptor");
  return SUCCESS;
}

EXPORT int cudnnCreateFilterDescriptor(void **filter) {
  *filter = make("filter descriptor", std::make_shared<Tensor>());
  return SUCCESS;
}

EXPORT int cudnnSetFilter4dDescriptor(void *filter, int type, int format, int k, int c, int h, int w) {
  return set_sizes(get<Tensor>("filter descriptor", filter, "cudnnSetFilter4dDescriptor"), type, format, k, c, h, w);
}

EXPORT int cudnnDestroyFilterDescriptor(void *filter) {
  gone("filter descriptor", filter, "cudnnDestroyFilterDescriptor");
  return SUCCESS;
}

EXPORT int cudnnCreateConvolutionDescriptor(void **how) {
  *how = make("convolution descriptor", std::make_shared<Description>());
  return SUCCESS;
}

EXPORT int cudnnSetConvolution2dDescriptor(void *handle, int pad_h, int pad_w, int stride_h, int stride_w, int apart_h, int apart_w,
                                           int mode, int type) {
  const char *call = "cudnnSetConvolution2dDescriptor";
  Description &how = get<Description>("convolution descriptor", handle, call);
  if (mode != 1) refuse("%s: a convolution that is mirrored, which ONNX does not mean", call);
  if (pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || apart_h < 1 || apart_w < 1) {
    return misuse(BAD_PARAM, call, "a padding, stride or dilation that there is not");
  }
  how.pad[0] = pad_h, how.pad[1] = pad_w, how.stride[0] = stride_h, how.stride[1] = stride_w;
  how.apart[0] = apart_h, how.apart[1] = apart_w, how.type = type;
  return SUCCESS;
}

EXPORT int cudnnSetConvolutionMathType(void *how, int math) {
  if (math < 0 || math > 3) return misuse(BAD_PARAM, "cudnnSetConvolutionMathType", "there is no such arithmetic");
  get<Description>("convolution descriptor", how, "cudnnSetConvolutionMathType").math = math;
  return SUCCESS;
}

EXPORT int cudnnSetConvolutionGroupCount(void *how, int groups) {
  if (groups < 1) return misuse(BAD_PARAM, "cudnnSetConvolutionGroupCount", "no groups");
  get<Description>("convolution descriptor", how, "cudnnSetConvolutionGroupCount").groups = groups;
  return SUCCESS;
}

EXPORT int cudnnDestroyConvolutionDescriptor(void *how) {
  gone("convolution descriptor", how, "cudnnDestroyConvolutionDescriptor");
  return SUCCESS;
}

EXPORT int cudnnFindConvolutionForwardAlgorithmEx(void *handle, void *x, const void *from, void *w, const void *weights, void *how, void *y,
                                                  void *to, int most, int *count, Performance *results, void *workspace, size_t workspace_bytes) {
  CUDNN("cudnnFindConvolutionForwardAlgorithmEx");
  const Convolution of = convolution_of(x, w, how, y, call.name);
  return search(handle, of, from, of.x, weights, to, of.y, most, count, results, workspace, workspace_bytes, call.name);
}

EXPORT int cudnnFindConvolutionBackwardDataAlgorithmEx(void *handle, void *w, const void *weights, void *dy, const void *from, void *how,
                                                       void *dx, void *to, int most, int *count, Performance *results, void *workspace,
                                                       size_t workspace_bytes) {
  CUDNN("cudnnFindConvolutionBackwardDataAlgorithmEx");
  const Convolution of = convolution_of(dx, w, how, dy, call.name);
  return search(handle, of, from, of.y, weights, to, of.x, most, count, results, workspace, workspace_bytes, call.name);
}

EXPORT int cudnnConvolutionForward(void *handle, const void *alpha, void *x, const void *from, void *w, const void *weights, void *how,
                                   int algorithm, void *workspace, size_t workspace_bytes, const void *beta, void *y, void *to) {
  CUDNN("cudnnConvolutionForward");
  const Convolution of = convolution_of(x, w, how, y, call.name);
  return compute(handle, true, of, alpha, from, of.x, weights, to, of.y, beta, algorithm, workspace, workspace_bytes, call.name);
}

EXPORT int cudnnConvolutionBackwardData(void *handle, const void *alpha, void *w, const void *weights, void *dy, const void *from, void *how,
                                        int algorithm, void *workspace, size_t workspace_bytes, const void *beta, void *dx, void *to) {
  CUDNN("cudnnConvolutionBackwardData");
  const Convolution of = convolution_of(dx, w, how, dy, call.name);
  return compute(handle, false, of, alpha, from, of.y, weights, to, of.x, beta, algorithm, workspace, workspace_bytes, call.name);
}
