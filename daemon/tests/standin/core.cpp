// Handles, mistakes, and what is said at the end.

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "standin.h"

namespace standin {

Counts counts = {};
int sticky = OK;
const char *running = "nothing";

namespace {

struct Handle {
  std::string kind;
  bool alive;
  std::shared_ptr<void> object;
};

std::map<const void *, Handle> &handles() {
  static auto *all = new std::map<const void *, Handle>;
  return *all;
}

Handle &known(const char *kind, const void *handle, const char *call) {
  const auto found = handles().find(handle);
  if (found == handles().end()) refuse("%s got %p, which is no %s", call, handle, kind);
  if (found->second.kind != kind) refuse("%s got a %s, not a %s", call, found->second.kind.c_str(), kind);
  if (!found->second.alive) refuse("%s got a %s that is gone", call, kind);
  return found->second;
}

}  // namespace

std::recursive_mutex &everything() {
  // Lives until the end of the process, whoever calls last.
  static auto *lock = new std::recursive_mutex;
  return *lock;
}

void refuse(const char *format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::fprintf(stderr, "stand-in: ");
  std::vfprintf(stderr, format, arguments);
  std::fprintf(stderr, " (in a stream: %s)\n", running);
  va_end(arguments);
  std::fflush(stderr);
  std::abort();
}

int misuse(int code, const char *call, const char *why) {
  ++counts.misuses;
  std::fprintf(stderr, "stand-in: %s: error %d: %s\n", call, code, why);
  return code;
}

std::string asked(const char *name, const char *otherwise) {
  const char *value = std::getenv((std::string("STANDIN_") + name).c_str());
  return value && *value ? value : otherwise;
}

bool asked_with(const char *name, const char *word) {
  return ("," + asked(name, "") + ",").find(std::string(",") + word + ",") != std::string::npos;
}

void *keep(const char *kind, std::shared_ptr<void> object) {
  std::lock_guard<std::recursive_mutex> lock(everything());
  void *handle = object.get();
  handles()[handle] = {kind, true, std::move(object)};
  return handle;
}

void *live(const char *kind, const void *handle, const char *call) {
  std::lock_guard<std::recursive_mutex> lock(everything());
  return known(kind, handle, call).object.get();
}

void gone(const char *kind, const void *handle, const char *call) {
  std::lock_guard<std::recursive_mutex> lock(everything());
  known(kind, handle, call).alive = false;
}

void say_what_is_left(FILE *to) {
  std::map<std::string, size_t> left;
  for (const auto &[at, handle] : handles()) left[handle.kind] += handle.alive;
  for (const auto &[kind, count] : left) std::fprintf(to, "left %s=%zu\n", kind.c_str(), count);
}

/// A context that is spoilt answers every call with the same error.
void end_with(int code) {
  if (sticky == OK) sticky = code;
}

namespace {

/// Of the whole life of the process, where it is asked for.
void report() {
  std::lock_guard<std::recursive_mutex> lock(everything());
  const std::string path = asked("REPORT", "");
  if (path.empty()) return;
  FILE *to = std::fopen(path.c_str(), "a");
  if (!to) return;
  std::fprintf(to, "process=%d\nlaunches=%zu\ngraph_launches=%zu\nallocations=%zu\n", getpid(), size_t(counts.launches),
               size_t(counts.graph_launches), size_t(counts.allocations));
  std::fprintf(to, "peak_bytes=%zu\nused_bytes=%zu\nmisuses=%zu\nsticky=%d\n", size_t(counts.peak_bytes), used_bytes(),
               size_t(counts.misuses), sticky);
  say_what_is_left(to);
  std::fclose(to);
}

bool initialised = false;

}  // namespace

Call::Call(const char *name, bool needs_context) : name(name), code(OK), lock_(everything()) {
  if (!initialised) {
    code = misuse(NOT_INITIALIZED, name, "nobody has called cuInit");
  } else if (sticky != OK && needs_context) {
    code = sticky;
  } else if (needs_context && !current_context()) {
    code = misuse(INVALID_CONTEXT, name, "no context is current on this thread");
  }
}

}  // namespace standin

EXPORT int cuInit(unsigned flags) {
  std::lock_guard<std::recursive_mutex> lock(standin::everything());
  if (flags != 0) return standin::misuse(standin::INVALID_VALUE, "cuInit", "flags");
  if (!standin::initialised) {
    std::atexit(standin::report);
    standin::explain_faults();
  }
  standin::initialised = true;
  return standin::OK;
}
