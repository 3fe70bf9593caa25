// What the four libraries of the stand-in share. It is no GPU: README.md beside this says what it is for.
//
// Everything happens under one lock and on the calling thread, so there is one order of events, which a test can rely on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

// What other libraries may see.
#define EXPORT extern "C" __attribute__((visibility("default")))
#define VISIBLE __attribute__((visibility("default")))

namespace standin {

// `CUresult`, as far as it is used.
enum Code : int {
  OK = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_CONTEXT = 201,
  INVALID_PTX = 218,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_UNMATCHED = 903,
  CAPTURED_EVENT = 907,
  CAPTURE_WRONG_THREAD = 908,
};

/// The lock of everything.
VISIBLE std::recursive_mutex &everything();

/// Ends the process: a real GPU leaves open what follows such a mistake.
[[noreturn]] VISIBLE void refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Says and counts a mistake that the real library answers with an error, and gives that error.
VISIBLE int misuse(int code, const char *call, const char *why);

/// What the environment asks for, or a default.
VISIBLE std::string asked(const char *name, const char *otherwise);
VISIBLE bool asked_with(const char *name, const char *word);

// Handles are never used a second time, so that one that is gone is always known as such.
VISIBLE void *keep(const char *kind, std::shared_ptr<void> object);
VISIBLE void *live(const char *kind, const void *handle, const char *call);
VISIBLE void gone(const char *kind, const void *handle, const char *call);

template <class T>
void *make(const char *kind, std::shared_ptr<T> object) {
  return keep(kind, std::static_pointer_cast<void>(object));
}

template <class T>
T &get(const char *kind, const void *handle, const char *call) {
  return *static_cast<T *>(live(kind, handle, call));
}

/// Holds the lock for a call, and knows whether the call may go on: initialised, a context current, and that one well.
class VISIBLE Call {
 public:
  explicit Call(const char *name, bool needs_context = true);
  const char *name;
  int code;

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

// Memory.

/// Ends the process unless all of it is memory of the device that nobody has freed.
VISIBLE void must_be_device(const void *at, size_t bytes, const char *call);
/// The same, of the device or pinned.
VISIBLE void must_be_reachable(const void *at, size_t bytes, const char *call);
/// Memory that takes none: a graph's, a library's. True if there was room.
VISIBLE bool reserve(size_t bytes);
VISIBLE void release(size_t bytes);
/// What of it is left of a fresh buffer.
constexpr int POISON = 0xFF;

// Streams.

/// Puts work into a stream, or into the graph that it is recorded as.
VISIBLE void submit(void *stream, const char *what, std::function<void()> work);
VISIBLE bool is_capturing(void *stream);
/// Waits for all streams. An error while one is recorded, which spoils the recording, as on a real GPU.
VISIBLE int synchronise_all(const char *call);
/// An error, which spoils the recording, if this thread is recording a graph.
VISIBLE int forbidden_in_capture(const char *call);
/// Spoils a recording.
VISIBLE void spoil(void *stream);

/// A kernel of the host build.
struct Kernel {
  const char *name, *file;
  size_t words_bytes, pointers;
  const void *entry;
};
const Kernel *find_kernel(const std::string &name);
void run_kernel(const Kernel &kernel, uint32_t blocks, const void *words, void *const *pointers);
/// Whether a file is one of the kernels'.
VISIBLE bool has_kernels(const std::string &file);

// What the parts of the driver know of each other.

struct Counts {
  uint64_t launches, graph_launches, allocations, peak_bytes, misuses;
};
extern Counts counts;
/// The error that the context is spoilt by.
extern int sticky;
void end_with(int code);
size_t used_bytes();
void *current_context();
void drain_all();
void drain(void *stream);
void say_what_is_left(FILE *to);
int allocate(size_t bytes, bool pinned, void **at, const char *call);
/// Not to be named any more; `free_memory` takes it away.
void condemn(const void *at, bool pinned, const char *call);
void free_memory(const void *at);
bool is_pinned(const void *at, size_t bytes, const char *call);
void trim_pool();
void explain_faults();
/// What is being computed, for messages.
extern const char *running;

}  // namespace standin

/// At the beginning of every call of the driver.
#define CALL(name)             \
  standin::Call call_(name);   \
  if (call_.code != standin::OK) return call_.code
