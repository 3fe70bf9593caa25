// The device, its one context, and programs: those are the kernels that were compiled for the host, found by their names.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "standin.h"

namespace standin {

namespace {

struct Context {
  int users = 0;
};

struct Module {
  std::string file;
};

struct Function {
  const Kernel *kernel;
};

thread_local void *current = nullptr;
void *primary = nullptr;

int compute_capability() { return std::atoi(asked("CAPABILITY", "90").c_str()); }

struct Named {
  int code;
  const char *name, *meaning;
};

constexpr Named NAMES[] = {
    {OK, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "stream is not capturing"},
    {CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "attempt to terminate a thread-local capture sequence from another thread"},
};

const Named *named(int code) {
  for (const Named &one : NAMES) {
    if (one.code == code) return &one;
  }
  return nullptr;
}

/// Whether this launch is the one that is to touch what it must not.
bool is_illegal(uint64_t number) {
  static const uint64_t asked_for = std::strtoull(asked("ILLEGAL_LAUNCH", "0").c_str(), nullptr, 10);
  if (asked_for == number) return true;
  static const std::string trigger = asked("ILLEGAL_IF_FILE", "");
  return !trigger.empty() && std::remove(trigger.c_str()) == 0;
}

}  // namespace

void *current_context() { return current; }

}  // namespace standin

using namespace standin;

EXPORT int cuDriverGetVersion(int *version) {
  *version = 13000;
  return OK;
}

EXPORT int cuGetErrorName(int code, const char **name) {
  const Named *found = named(code);
  *name = found ? found->name : nullptr;
  return found ? OK : INVALID_VALUE;
}

EXPORT int cuGetErrorString(int code, const char **meaning) {
  const Named *found = named(code);
  *meaning = found ? found->meaning : nullptr;
  return found ? OK : INVALID_VALUE;
}

EXPORT int cuDeviceGetCount(int *count) {
  Call call("cuDeviceGetCount", false);
  if (call.code != OK) return call.code;
  *count = 1;
  return OK;
}

EXPORT int cuDeviceGet(int *device, int ordinal) {
  Call call("cuDeviceGet", false);
  if (call.code != OK) return call.code;
  if (ordinal != 0) return misuse(INVALID_DEVICE, call.name, "no such device");
  *device = 0;
  return OK;
}

EXPORT int cuDeviceGetName(char *name, int length, int device) {
  Call call("cuDeviceGetName", false);
  if (call.code != OK) return call.code;
  if (device != 0) return misuse(INVALID_DEVICE, call.name, "no such device");
  std::snprintf(name, size_t(length), "stand-in, no GPU");
  return OK;
}

EXPORT int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
  Call call("cuDeviceGetUuid", false);
  if (call.code != OK) return call.code;
  if (device != 0) return misuse(INVALID_DEVICE, call.name, "no such device");
  std::memset(uuid, 0x5A, 16);
  return OK;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  Call call("cuDeviceGetAttribute", false);
  if (call.code != OK) return call.code;
  if (device != 0) return misuse(INVALID_DEVICE, call.name, "no such device");
  switch (attribute) {
    case 1: *value = 1024; return OK;
    case 10: *value = 32; return OK;
    case 16: *value = 132; return OK;
    case 39: *value = 2048; return OK;
    case 75: *value = compute_capability() / 10; return OK;
    case 76: *value = compute_capability() % 10; return OK;
    case 115: *value = asked("POOLS", "1") == "1"; return OK;
    default: return misuse(INVALID_VALUE, call.name, "the stand-in does not know this attribute");
  }
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
  Call call("cuDevicePrimaryCtxRetain", false);
  if (call.code != OK) return call.code;
  if (device != 0) return misuse(INVALID_DEVICE, call.name, "no such device");
  if (!primary) primary = make("context", std::make_shared<Context>());
  ++get<Context>("context", primary, call.name).users;
  *context = primary;
  return sticky;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  Call call("cuDevicePrimaryCtxRelease", false);
  if (call.code != OK) return call.code;
  if (device != 0 || !primary) return misuse(INVALID_CONTEXT, call.name, "there is none");
  if (--get<Context>("context", primary, call.name).users > 0) return OK;
  if (used_bytes() > 0 && sticky == OK) refuse("the context goes while %zu bytes of memory are taken", used_bytes());
  gone("context", primary, call.name);
  primary = nullptr;
  return OK;
}

EXPORT int cuCtxGetCurrent(void **context) {
  Call call("cuCtxGetCurrent", false);
  if (call.code != OK) return call.code;
  *context = current;
  return sticky;
}

EXPORT int cuCtxSetCurrent(void *context) {
  Call call("cuCtxSetCurrent", false);
  if (call.code != OK) return call.code;
  if (context) live("context", context, call.name);
  current = context;
  return sticky;
}

EXPORT int cuModuleLoadData(void **module, const void *image) {
  CALL("cuModuleLoadData");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  const std::string text = static_cast<const char *>(image);
  const std::string key = "// the stand-in's program of ";
  const size_t at = text.find(key), target = text.find(".target sm_");
  // What the real compiler made, or what was cut off, is none that can be run.
  if (at == std::string::npos || target == std::string::npos || text.find("// end") == std::string::npos) return INVALID_PTX;
  if (std::atoi(text.c_str() + target + 11) > compute_capability()) return INVALID_PTX;
  const size_t begin = at + key.size();
  *module = make("module", std::make_shared<Module>(Module{text.substr(begin, text.find('\n', begin) - begin)}));
  return OK;
}

EXPORT int cuModuleUnload(void *module) {
  CALL("cuModuleUnload");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  drain_all();
  gone("module", module, call_.name);
  return OK;
}

EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  CALL("cuModuleGetFunction");
  const Module &of = get<Module>("module", module, call_.name);
  const Kernel *kernel = find_kernel(name);
  if (!kernel || of.file != kernel->file) return NOT_FOUND;
  *function = make("function", std::make_shared<Function>(Function{kernel}));
  return OK;
}

EXPORT int cuFuncGetAttribute(int *value, int attribute, void *function) {
  CALL("cuFuncGetAttribute");
  get<Function>("function", function, call_.name);
  if (attribute != 0) return misuse(INVALID_VALUE, call_.name, "the stand-in does not know this attribute");
  *value = 1024;
  return OK;
}

EXPORT int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                          unsigned threads_z, unsigned shared_bytes, void *stream, void **arguments, void **extra) {
  CALL("cuLaunchKernel");
  const Kernel &kernel = *get<Function>("function", function, call_.name).kernel;
  if (x == 0 || x > 0x7FFFFFFFu) return misuse(INVALID_VALUE, call_.name, "the size of the grid");
  if (y != 1 || z != 1 || threads_y != 1 || threads_z != 1 || threads != 256 || shared_bytes != 0 || extra) {
    refuse("%s is launched with a geometry that our kernels do not have", kernel.name);
  }
  const auto *first = static_cast<const unsigned char *>(arguments[0]);
  auto words = std::make_shared<std::vector<unsigned char>>(first, first + kernel.words_bytes);
  auto pointers = std::make_shared<std::vector<void *>>();
  for (size_t at = 0; at < kernel.pointers; ++at) {
    void *pointer = *static_cast<void **>(arguments[1 + at]);
    if (pointer) must_be_reachable(pointer, 1, kernel.name);
    if (uintptr_t(pointer) % 16 != 0) refuse("%s: pointer %zu is not aligned to 16 bytes", kernel.name, at);
    pointers->push_back(pointer);
  }
  submit(stream, kernel.name, [&kernel, x, words, pointers] {
    if (is_illegal(++counts.launches)) return end_with(ILLEGAL_ADDRESS);
    run_kernel(kernel, x, words->data(), pointers->data());
  });
  return OK;
}
