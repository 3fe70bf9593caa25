// Streams, events and graphs. What is put into a stream is computed when somebody waits for it (STANDIN_ORDER=late, so that
// what is used before it is there, or freed before it was used, shows) or at once (early, so that what is changed
// after it was put there shows).

#include <chrono>
#include <cstring>
#include <deque>
#include <thread>

#include "standin.h"

namespace standin {

namespace {

struct Op {
  const char *what;
  std::function<void()> work;
};

struct Recording {
  std::thread::id by;
  int mode;
  bool spoilt;
  std::vector<Op> ops;
};

struct Stream {
  std::deque<Op> queue;
  std::unique_ptr<Recording> recording;
  bool draining = false;
};

struct Mark {
  bool done = false, recorded = false;
  double at_ms = 0;
  Stream *in = nullptr;
};

struct Event {
  std::shared_ptr<Mark> mark = std::make_shared<Mark>();
  bool timed = true;
};

struct Graph {
  std::vector<Op> ops;
};

struct Executable {
  std::vector<Op> ops;
};

/// What a graph takes of the device until it is destroyed.
constexpr size_t GRAPH_BYTES = 64 << 10;
enum Mode { GLOBAL = 0, THREAD_LOCAL = 1, RELAXED = 2 };

// All that there ever were; those that are gone are empty.
std::vector<Stream *> &streams() {
  static auto *all = new std::vector<Stream *>;
  return *all;
}

Stream &legacy() {
  static auto *stream = [] {
    streams().push_back(new Stream);
    return streams().back();
  }();
  return *stream;
}

Stream &stream_of(void *handle, const char *call) { return handle ? get<Stream>("stream", handle, call) : legacy(); }

double now_ms() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

void drain(Stream &stream) {
  // What is computed may wait for another stream, which waits for this one: that would be for ever.
  if (stream.draining) refuse("a stream waits for itself");
  stream.draining = true;
  while (!stream.queue.empty() && sticky == OK) {
    const Op op = std::move(stream.queue.front());
    stream.queue.pop_front();
    const char *before = running;
    running = op.what;
    op.work();
    running = before;
  }
  if (sticky != OK) stream.queue.clear();
  stream.draining = false;
}

void put(Stream &stream, Op op) {
  static const bool early = asked("ORDER", "late") == "early";
  if (stream.recording) {
    stream.recording->ops.push_back(std::move(op));
    return;
  }
  stream.queue.push_back(std::move(op));
  if (early && !stream.draining) drain(stream);
}

}  // namespace

void submit(void *stream, const char *what, std::function<void()> work) {
  put(stream_of(stream, what), {what, std::move(work)});
}

bool is_capturing(void *stream) { return stream_of(stream, "asking for a recording").recording != nullptr; }

void spoil(void *stream) {
  Stream &of = stream_of(stream, "spoiling a recording");
  if (of.recording) of.recording->spoilt = true;
}

void drain(void *stream) { drain(stream_of(stream, "waiting")); }

void drain_all() {
  for (size_t at = 0; at < streams().size(); ++at) {
    if (!streams()[at]->draining) drain(*streams()[at]);
  }
}

int synchronise_all(const char *call) {
  int code = OK;
  for (Stream *stream : streams()) {
    if (!stream->recording) continue;
    stream->recording->spoilt = true;
    code = misuse(CAPTURE_UNSUPPORTED, call, "waits for the whole device while a stream is recorded");
  }
  if (code != OK) return code;
  drain_all();
  trim_pool();
  return sticky;
}

int forbidden_in_capture(const char *call) {
  int code = OK;
  for (Stream *stream : streams()) {
    Recording *recording = stream->recording.get();
    if (!recording || recording->mode == RELAXED) continue;
    if (recording->mode == THREAD_LOCAL && recording->by != std::this_thread::get_id()) continue;
    recording->spoilt = true;
    code = misuse(CAPTURE_UNSUPPORTED, call, "is not allowed while a graph is recorded");
  }
  return code;
}

}  // namespace standin

using namespace standin;

namespace {

int made_stream(void **handle) {
  auto stream = std::make_shared<Stream>();
  streams().push_back(stream.get());
  *handle = make("stream", stream);
  return OK;
}

}  // namespace

EXPORT int cuStreamCreate(void **handle, unsigned flags) {
  CALL("cuStreamCreate");
  if (flags > 1) return misuse(INVALID_VALUE, call_.name, "flags");
  return made_stream(handle);
}

EXPORT int cuStreamCreateWithPriority(void **handle, unsigned flags, int) {
  CALL("cuStreamCreateWithPriority");
  if (flags > 1) return misuse(INVALID_VALUE, call_.name, "flags");
  return made_stream(handle);
}

EXPORT int cuStreamDestroy_v2(void *handle) {
  CALL("cuStreamDestroy");
  Stream &stream = stream_of(handle, call_.name);
  if (stream.recording) refuse("a stream is destroyed while it is recorded");
  drain(stream);
  gone("stream", handle, call_.name);
  return sticky;
}

EXPORT int cuStreamSynchronize(void *handle) {
  CALL("cuStreamSynchronize");
  Stream &stream = stream_of(handle, call_.name);
  if (stream.recording) {
    stream.recording->spoilt = true;
    return misuse(CAPTURE_UNSUPPORTED, call_.name, "waits for a stream that is recorded");
  }
  drain(stream);
  trim_pool();
  return sticky;
}

EXPORT int cuStreamQuery(void *handle) {
  CALL("cuStreamQuery");
  Stream &stream = stream_of(handle, call_.name);
  if (stream.recording) {
    stream.recording->spoilt = true;
    return misuse(CAPTURE_UNSUPPORTED, call_.name, "asks for a stream that is recorded");
  }
  // Who asks again and again gets there.
  const bool ready = stream.queue.empty();
  drain(stream);
  return sticky != OK ? sticky : ready ? OK : NOT_READY;
}

EXPORT int cuCtxSynchronize() {
  CALL("cuCtxSynchronize");
  return synchronise_all(call_.name);
}

EXPORT int cuStreamBeginCapture_v2(void *handle, int mode) {
  CALL("cuStreamBeginCapture");
  if (!handle) return misuse(CAPTURE_UNSUPPORTED, call_.name, "the legacy stream cannot be recorded");
  Stream &stream = stream_of(handle, call_.name);
  if (stream.recording) return misuse(CAPTURE_UNSUPPORTED, call_.name, "is recorded already");
  stream.recording.reset(new Recording{std::this_thread::get_id(), mode, false, {}});
  return OK;
}

EXPORT int cuStreamEndCapture(void *handle, void **graph) {
  CALL("cuStreamEndCapture");
  Stream &stream = stream_of(handle, call_.name);
  *graph = nullptr;
  if (!stream.recording) return misuse(CAPTURE_UNMATCHED, call_.name, "is not recorded");
  const bool mine = stream.recording->by == std::this_thread::get_id() || stream.recording->mode == RELAXED;
  if (!mine) return misuse(CAPTURE_WRONG_THREAD, call_.name, "another thread began the recording");
  const std::unique_ptr<Recording> recording = std::move(stream.recording);
  if (recording->spoilt) return CAPTURE_INVALIDATED;
  *graph = make("graph", std::make_shared<Graph>(Graph{std::move(recording->ops)}));
  return OK;
}

EXPORT int cuStreamIsCapturing(void *handle, int *status) {
  CALL("cuStreamIsCapturing");
  const Stream &stream = stream_of(handle, call_.name);
  *status = !stream.recording ? 0 : stream.recording->spoilt ? 2 : 1;
  return OK;
}

EXPORT int cuGraphInstantiateWithFlags(void **handle, void *graph, unsigned long long flags) {
  CALL("cuGraphInstantiate");
  // Only one that frees memory of the graph's own, which there is none of.
  if (flags > 1) refuse("cuGraphInstantiate with flags %llu, which the stand-in does not know", flags);
  const Graph &of = get<Graph>("graph", graph, call_.name);
  if (!reserve(GRAPH_BYTES)) return OUT_OF_MEMORY;
  *handle = make("executable graph", std::make_shared<Executable>(Executable{of.ops}));
  return OK;
}

EXPORT int cuGraphDestroy(void *handle) {
  CALL("cuGraphDestroy");
  get<Graph>("graph", handle, call_.name).ops.clear();
  gone("graph", handle, call_.name);
  return OK;
}

EXPORT int cuGraphExecDestroy(void *handle) {
  CALL("cuGraphExecDestroy");
  get<Executable>("executable graph", handle, call_.name).ops.clear();
  gone("executable graph", handle, call_.name);
  release(GRAPH_BYTES);
  return OK;
}

EXPORT int cuGraphUpload(void *handle, void *stream) {
  CALL("cuGraphUpload");
  get<Executable>("executable graph", handle, call_.name);
  stream_of(stream, call_.name);
  return OK;
}

EXPORT int cuGraphLaunch(void *handle, void *stream) {
  CALL("cuGraphLaunch");
  const Executable &graph = get<Executable>("executable graph", handle, call_.name);
  Stream &to = stream_of(stream, call_.name);
  if (to.recording) refuse("a graph within a graph, which the stand-in does not know");
  ++counts.graph_launches;
  for (const Op &op : graph.ops) put(to, op);
  return OK;
}

EXPORT int cuEventCreate(void **handle, unsigned flags) {
  CALL("cuEventCreate");
  auto event = std::make_shared<Event>();
  event->timed = (flags & 2) == 0;
  *handle = make("event", event);
  return OK;
}

EXPORT int cuEventDestroy_v2(void *handle) {
  CALL("cuEventDestroy");
  gone("event", handle, call_.name);
  return OK;
}

EXPORT int cuEventRecord(void *handle, void *stream) {
  CALL("cuEventRecord");
  Event &event = get<Event>("event", handle, call_.name);
  Stream &in = stream_of(stream, call_.name);
  event.mark = std::make_shared<Mark>();
  event.mark->in = &in;
  event.mark->recorded = in.recording != nullptr;
  put(in, {"an event", [mark = event.mark] {
             mark->done = true;
             mark->at_ms = now_ms();
           }});
  return OK;
}

EXPORT int cuEventSynchronize(void *handle) {
  CALL("cuEventSynchronize");
  const auto mark = get<Event>("event", handle, call_.name).mark;
  if (mark->recorded) return misuse(CAPTURED_EVENT, call_.name, "is part of a graph");
  if (mark->in && !mark->done) drain(*mark->in);
  return sticky;
}

EXPORT int cuEventQuery(void *handle) {
  CALL("cuEventQuery");
  const auto mark = get<Event>("event", handle, call_.name).mark;
  if (mark->recorded) return misuse(CAPTURED_EVENT, call_.name, "is part of a graph");
  const bool ready = !mark->in || mark->done;
  if (!ready) drain(*mark->in);
  return sticky != OK ? sticky : ready ? OK : NOT_READY;
}

EXPORT int cuEventElapsedTime_v2(float *milliseconds, void *from, void *to) {
  CALL("cuEventElapsedTime");
  const Event &first = get<Event>("event", from, call_.name), &second = get<Event>("event", to, call_.name);
  if (!first.timed || !second.timed) return misuse(400, call_.name, "an event keeps no time");
  if (!first.mark->done || !second.mark->done) return NOT_READY;
  *milliseconds = float(second.mark->at_ms - first.mark->at_ms);
  return OK;
}

EXPORT int cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  return cuEventElapsedTime_v2(milliseconds, from, to);
}

EXPORT int cuStreamWaitEvent(void *stream, void *handle, unsigned) {
  CALL("cuStreamWaitEvent");
  const auto mark = get<Event>("event", handle, call_.name).mark;
  Stream &waiting = stream_of(stream, call_.name);
  if (mark->recorded && mark->in != &waiting) refuse("a recording of several streams, which the stand-in does not know");
  put(waiting, {"waiting for an event", [mark] {
                  if (mark->in && !mark->done && !mark->in->draining) drain(*mark->in);
                }});
  return OK;
}

// Copies. What is not pinned is copied aside before the call returns, or waited for.

namespace {

int copy_to_host(void *to, const void *from, size_t bytes, void *stream, const char *call) {
  must_be_device(from, bytes, call);
  const bool pinned = is_pinned(to, bytes, call);
  if (!pinned && is_capturing(stream)) {
    spoil(stream);
    return misuse(CAPTURE_UNSUPPORTED, call, "records a copy to memory that is not pinned");
  }
  submit(stream, "a copy to the host", [=] { std::memcpy(to, from, bytes); });
  if (!pinned) drain(stream_of(stream, call));
  return sticky;
}

int copy_to_device(void *to, const void *from, size_t bytes, void *stream, const char *call) {
  must_be_device(to, bytes, call);
  if (is_pinned(from, bytes, call)) {
    submit(stream, "a copy to the device", [=] { std::memcpy(to, from, bytes); });
    return OK;
  }
  if (is_capturing(stream)) {
    spoil(stream);
    return misuse(CAPTURE_UNSUPPORTED, call, "records a copy from memory that is not pinned");
  }
  const auto *begin = static_cast<const unsigned char *>(from);
  auto aside = std::make_shared<std::vector<unsigned char>>(begin, begin + bytes);
  submit(stream, "a copy to the device", [=] { std::memcpy(to, aside->data(), bytes); });
  return OK;
}

}  // namespace

EXPORT int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
  CALL("cuMemcpyHtoDAsync");
  return bytes == 0 ? OK : copy_to_device(to, from, bytes, stream, call_.name);
}

EXPORT int cuMemcpyDtoHAsync_v2(void *to, void *from, size_t bytes, void *stream) {
  CALL("cuMemcpyDtoHAsync");
  return bytes == 0 ? OK : copy_to_host(to, from, bytes, stream, call_.name);
}

EXPORT int cuMemcpyHtoD_v2(void *to, const void *from, size_t bytes) {
  CALL("cuMemcpyHtoD");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  if (bytes == 0) return OK;
  if (const int code = copy_to_device(to, from, bytes, nullptr, call_.name)) return code;
  drain(legacy());
  return sticky;
}

EXPORT int cuMemcpyDtoH_v2(void *to, void *from, size_t bytes) {
  CALL("cuMemcpyDtoH");
  if (const int code = forbidden_in_capture(call_.name)) return code;
  if (bytes == 0) return OK;
  if (const int code = copy_to_host(to, from, bytes, nullptr, call_.name)) return code;
  drain(legacy());
  return sticky;
}

EXPORT int cuMemcpyDtoDAsync_v2(void *to, void *from, size_t bytes, void *stream) {
  CALL("cuMemcpyDtoDAsync");
  if (bytes == 0) return OK;
  must_be_device(to, bytes, call_.name);
  must_be_device(from, bytes, call_.name);
  submit(stream, "a copy on the device", [=] { std::memmove(to, from, bytes); });
  return OK;
}

EXPORT int cuMemsetD8Async(void *at, unsigned char value, size_t bytes, void *stream) {
  CALL("cuMemsetD8Async");
  if (bytes == 0) return OK;
  must_be_device(at, bytes, call_.name);
  submit(stream, "filling memory", [=] { std::memset(at, value, bytes); });
  return OK;
}
