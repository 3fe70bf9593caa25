// Memory: each buffer in pages of its own, at their end, between pages that nobody may touch, and never where one was
// before. So what is read or written beyond a buffer, or after it was freed, is a fault at once, and the fault is explained.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>

#include "standin.h"

namespace standin {

namespace {

/// What the driver's own allocations begin at a multiple of.
constexpr size_t ALIGNMENT = 256, PAGE = 4096;
/// In what it takes memory from the device.
constexpr size_t GRAIN = 2u << 20;
/// Stands between a buffer's end and the next page.
constexpr unsigned char MARK = 0xC5;

enum class State { Live, Condemned, Freed };

struct Buffer {
  unsigned char *mapped;
  size_t mapped_bytes;
  size_t bytes;
  bool pinned;
  State state;
};

using Buffers = std::map<uintptr_t, Buffer>;

Buffers &buffers() {
  static auto *all = new Buffers;
  return *all;
}

size_t used = 0, reserved = 0, release_threshold = 0, used_high = 0, reserved_high = 0;

size_t up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

size_t limit() {
  static const size_t bytes = std::strtoull(asked("MEMORY_BYTES", "1073741824").c_str(), nullptr, 10);
  return bytes;
}

Buffers::iterator holding(const void *at) {
  auto found = buffers().upper_bound(uintptr_t(at));
  if (found == buffers().begin()) return buffers().end();
  --found;
  return uintptr_t(at) < found->first + std::max<size_t>(found->second.bytes, 1) ? found : buffers().end();
}

/// The buffer that has all of it.
const Buffer &must_hold(const void *at, size_t bytes, const char *call) {
  const auto found = holding(at);
  if (found == buffers().end()) refuse("%s: %p is in no buffer", call, at);
  const size_t offset = uintptr_t(at) - found->first;
  if (found->second.state != State::Live) refuse("%s: %p is in a buffer that was freed", call, at);
  if (bytes > found->second.bytes - offset) {
    refuse("%s: %zu bytes from byte %zu of a buffer of %zu", call, bytes, offset, found->second.bytes);
  }
  return found->second;
}

/// A file that a test writes while the process runs: a line `word=number`.
uint64_t told(const char *word) {
  static const std::string path = asked("CONTROL", "");
  if (path.empty()) return 0;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find('=');
    if (at != std::string::npos && line.substr(0, at) == word) return std::strtoull(line.c_str() + at + 1, nullptr, 10);
  }
  return 0;
}

/// Whether this allocation is one that is to fail: `3,7-9` by number, or all above a size.
bool is_to_fail(uint64_t number, size_t bytes) {
  const uint64_t most = told("fail_above_bytes");
  if (most > 0 && bytes > most) return true;
  const std::string list = asked("FAIL_ALLOCATIONS", "");
  const char *at = list.c_str();
  while (*at) {
    char *next;
    const uint64_t first = std::strtoull(at, &next, 10);
    uint64_t last = first;
    if (next == at) refuse("STANDIN_FAIL_ALLOCATIONS is '%s', not a list such as 3,7-9", list.c_str());
    if (*next == '-') last = std::strtoull(next + 1, &next, 10);
    if (number >= first && number <= last) return true;
    at = *next == ',' ? next + 1 : next;
  }
  return false;
}

bool take(size_t bytes) {
  if (used + bytes > limit()) drain_all();
  if (used + bytes > limit()) return false;
  used += bytes;
  reserved = std::max(reserved, std::min(up(used, GRAIN), limit()));
  used_high = std::max(used_high, used);
  reserved_high = std::max(reserved_high, reserved);
  counts.peak_bytes = std::max<uint64_t>(counts.peak_bytes, used);
  return true;
}

void map_buffer(size_t bytes, bool pinned, void **at) {
  const size_t whole = up(bytes, ALIGNMENT), pages = up(whole, PAGE), mapped = pages + 2 * PAGE;
  void *memory = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) refuse("the machine has no %zu bytes for a buffer", mapped);
  auto *from = static_cast<unsigned char *>(memory);
  if (mprotect(from + PAGE, pages, PROT_READ | PROT_WRITE) != 0) refuse("no pages for a buffer");
  unsigned char *begin = from + PAGE + (pages - whole);
  std::memset(from + PAGE, MARK, pages - whole);
  std::memset(begin, POISON, bytes);
  std::memset(begin + bytes, MARK, whole - bytes);
  buffers()[uintptr_t(begin)] = {from, mapped, bytes, pinned, State::Live};
  *at = begin;
}

void must_be_whole(const Buffer &buffer, const unsigned char *begin) {
  const auto is_mark = [](unsigned char byte) { return byte == MARK; };
  const unsigned char *from = buffer.mapped + PAGE, *end = buffer.mapped + buffer.mapped_bytes - PAGE;
  if (!std::all_of(from, begin, is_mark) || !std::all_of(begin + buffer.bytes, end, is_mark)) {
    refuse("somebody wrote beyond the ends of a buffer of %zu bytes", buffer.bytes);
  }
}

void explain(int, siginfo_t *what, void *) {
  // Only to say something before the end: the process is lost either way.
  const auto address = uintptr_t(what->si_addr);
  for (const auto &[begin, buffer] : buffers()) {
    if (address < uintptr_t(buffer.mapped) || address >= uintptr_t(buffer.mapped) + buffer.mapped_bytes) continue;
    std::fprintf(stderr, "stand-in: %s touched byte %td of a buffer of %zu%s\n", running,
                 std::ptrdiff_t(address - begin), buffer.bytes, buffer.state == State::Freed ? " that was freed" : "");
  }
  std::signal(SIGSEGV, SIG_DFL);
  std::raise(SIGSEGV);
}

}  // namespace

size_t used_bytes() { return used; }
bool reserve(size_t bytes) { return take(bytes); }
void release(size_t bytes) { used -= bytes; }

/// A pool keeps what was freed until somebody waits, and as much as it is told for longer.
void trim_pool() { reserved = std::min(reserved, std::max(up(used, GRAIN), release_threshold)); }

int allocate(size_t bytes, bool pinned, void **at, const char *call) {
  if (bytes == 0) return misuse(INVALID_VALUE, call, "no bytes");
  if (!pinned) {
    ++counts.allocations;
    if (is_to_fail(counts.allocations, bytes) || !take(up(bytes, ALIGNMENT))) return OUT_OF_MEMORY;
  }
  map_buffer(bytes, pinned, at);
  return OK;
}

void condemn(const void *at, bool pinned, const char *call) {
  const auto found = buffers().find(uintptr_t(at));
  if (found == buffers().end()) refuse("%s: %p is not the beginning of a buffer", call, at);
  if (found->second.state != State::Live) refuse("%s: the buffer at %p was freed before", call, at);
  if (found->second.pinned != pinned) refuse("%s: the buffer at %p is of another kind", call, at);
  found->second.state = State::Condemned;
}

void free_memory(const void *at) {
  const auto found = buffers().find(uintptr_t(at));
  Buffer &buffer = found->second;
  must_be_whole(buffer, reinterpret_cast<const unsigned char *>(found->first));
  buffer.state = State::Freed;
  // The addresses stay taken, the memory does not.
  madvise(buffer.mapped, buffer.mapped_bytes, MADV_DONTNEED);
  mprotect(buffer.mapped, buffer.mapped_bytes, PROT_NONE);
  if (!buffer.pinned) used -= up(buffer.bytes, ALIGNMENT);
}

void must_be_reachable(const void *at, size_t bytes, const char *call) { must_hold(at, bytes, call); }

void must_be_device(const void *at, size_t bytes, const char *call) {
  if (must_hold(at, bytes, call).pinned) refuse("%s: %p is memory of the host", call, at);
}

bool is_pinned(const void *at, size_t bytes, const char *call) {
  if (holding(at) == buffers().end()) return false;
  return must_hold(at, bytes, call).pinned;
}

void explain_faults() {
  struct sigaction action = {};
  action.sa_sigaction = explain;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
}

}  // namespace standin

using namespace standin;

EXPORT int cuMemAlloc_v2(void **at, size_t bytes) {
  CALL("cuMemAlloc");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  return allocate(bytes, false, at, call_.name);
}

EXPORT int cuMemAllocAsync(void **at, size_t bytes, void *stream) {
  CALL("cuMemAllocAsync");
  if (is_capturing(stream)) refuse("cuMemAllocAsync into a graph, which the stand-in does not know");
  return allocate(bytes, false, at, call_.name);
}

EXPORT int cuMemFree_v2(void *at) {
  CALL("cuMemFree");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  drain_all();
  condemn(at, false, call_.name);
  free_memory(at);
  trim_pool();
  return OK;
}

EXPORT int cuMemFreeAsync(void *at, void *stream) {
  CALL("cuMemFreeAsync");
  if (is_capturing(stream)) refuse("cuMemFreeAsync into a graph, which the stand-in does not know");
  condemn(at, false, call_.name);
  submit(stream, "freeing", [at] { free_memory(at); });
  return OK;
}

EXPORT int cuMemHostAlloc(void **at, size_t bytes, unsigned flags) {
  CALL("cuMemHostAlloc");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  // Portable, mapped, write-combined.
  if (flags > 7) return misuse(INVALID_VALUE, call_.name, "flags");
  return allocate(bytes, true, at, call_.name);
}

// Does not wait for copies that are under way: whoever frees has to.
EXPORT int cuMemFreeHost(void *at) {
  CALL("cuMemFreeHost");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  condemn(at, true, call_.name);
  free_memory(at);
  return OK;
}

EXPORT int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
  CALL("cuMemGetInfo");
  *total_bytes = limit();
  *free_bytes = limit() - std::min(reserved, limit());
  return OK;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  Call call("cuDeviceTotalMem", false);
  if (call.code != OK) return call.code;
  if (device != 0) return misuse(INVALID_DEVICE, call.name, "no such device");
  *bytes = limit();
  return OK;
}

namespace {
int the_pool;
}

EXPORT int cuDeviceGetDefaultMemPool(void **pool, int device) {
  Call call("cuDeviceGetDefaultMemPool", false);
  if (call.code != OK) return call.code;
  if (device != 0) return misuse(INVALID_DEVICE, call.name, "no such device");
  *pool = &the_pool;
  return OK;
}

EXPORT int cuMemPoolTrimTo(void *pool, size_t keep_bytes) {
  CALL("cuMemPoolTrimTo");
  if (pool != &the_pool) refuse("cuMemPoolTrimTo got what is no pool");
  reserved = std::min(reserved, std::max(up(used, GRAIN), keep_bytes));
  return OK;
}

EXPORT int cuMemPoolGetAttribute(void *pool, int attribute, void *value) {
  CALL("cuMemPoolGetAttribute");
  if (pool != &the_pool) refuse("cuMemPoolGetAttribute got what is no pool");
  switch (attribute) {
    case 1: case 2: case 3: *static_cast<int *>(value) = 1; return OK;
    case 4: *static_cast<uint64_t *>(value) = release_threshold; return OK;
    case 5: *static_cast<uint64_t *>(value) = reserved; return OK;
    case 6: *static_cast<uint64_t *>(value) = reserved_high; return OK;
    case 7: *static_cast<uint64_t *>(value) = used; return OK;
    case 8: *static_cast<uint64_t *>(value) = used_high; return OK;
    default: return misuse(INVALID_VALUE, call_.name, "no such attribute");
  }
}

EXPORT int cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
  CALL("cuMemPoolSetAttribute");
  if (pool != &the_pool) refuse("cuMemPoolSetAttribute got what is no pool");
  switch (attribute) {
    case 1: case 2: case 3: return OK;
    case 4: release_threshold = *static_cast<uint64_t *>(value); return OK;
    // High-water marks can only be put back.
    case 6: reserved_high = reserved; return OK;
    case 8: used_high = used; return OK;
    default: return misuse(INVALID_VALUE, call_.name, "no such attribute");
  }
}
