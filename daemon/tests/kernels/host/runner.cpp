// Runs kernels on the host, as a child that reads launches from its standard input and answers on its standard output:
// what goes wrong in a kernel ends this process and nothing else. Built with the address and undefined-behaviour
// sanitizers, so that no access beyond a buffer passes. Everything is little-endian.
//
//   launch   name, blocks, words, buffers; each a length and that many bytes, but for the number of blocks
//   a buffer's length may also be ABSENT (a null pointer) or SAME + n (the same memory as buffer n)
//   answer   length of a complaint, or 0 and then the content of every buffer that has a length
//   listing  an empty name: for each kernel its name, its bytes of words, its number of pointers; then an empty name
//
// Every launch runs in each order of threads and blocks, on fresh buffers, and all must give the same bytes.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels.h"

namespace {

using Bytes = std::vector<unsigned char>;

constexpr uint32_t ABSENT = 0xFFFFFFFFu, SAME = 0xF0000000u;

bool read_all(void *to, size_t bytes) { return std::fread(to, 1, bytes, stdin) == bytes; }

uint32_t read_number() {
  uint32_t number;
  if (!read_all(&number, sizeof number)) std::exit(0);
  return number;
}

Bytes read_bytes(uint32_t length) {
  Bytes bytes(length);
  if (length > 0 && !read_all(bytes.data(), length)) std::exit(1);
  return bytes;
}

void write_number(uint32_t number) { std::fwrite(&number, 1, sizeof number, stdout); }

void write_bytes(const void *bytes, size_t length) {
  write_number(uint32_t(length));
  std::fwrite(bytes, 1, length, stdout);
}

/// An argument of a launch as it came.
struct Buffer {
  uint32_t length;
  Bytes content;
  bool has_content() const { return length < SAME; }
};

struct Launch {
  std::string name;
  uint32_t blocks;
  Bytes words;
  std::vector<Buffer> buffers;
};

Launch read_launch(std::string name) {
  Launch launch{std::move(name), read_number(), {}, {}};
  launch.words = read_bytes(read_number());
  const uint32_t buffers = read_number();
  for (uint32_t at = 0; at < buffers; ++at) {
    Buffer buffer{read_number(), {}};
    if (buffer.has_content()) buffer.content = read_bytes(buffer.length);
    launch.buffers.push_back(std::move(buffer));
  }
  return launch;
}

const host::Entry *find(const std::string &name) {
  for (const host::Entry *entry = host::entries; entry; entry = entry->next) {
    if (name == entry->name) return entry;
  }
  return nullptr;
}

/// Memory of exactly the buffer's length, so that the sanitizer sees its end.
class Memory {
 public:
  explicit Memory(const Buffer &buffer) : length_(buffer.has_content() ? buffer.length : 0) {
    if (!buffer.has_content()) return;
    at_ = static_cast<unsigned char *>(std::malloc(length_));
    if (length_ > 0) std::memcpy(at_, buffer.content.data(), length_);
  }
  Memory(Memory &&other) noexcept : at_(std::exchange(other.at_, nullptr)), length_(other.length_) {}
  ~Memory() { std::free(at_); }
  void *pointer() const { return at_; }
  Bytes content() const { return Bytes(at_, at_ + length_); }

 private:
  unsigned char *at_ = nullptr;
  size_t length_;
};

/// Runs a launch in one order of threads and blocks; gives what the buffers hold then.
std::vector<Bytes> run(const Launch &launch, const host::Entry &entry, host::Order order) {
  std::vector<Memory> memories;
  std::vector<void *> pointers;
  for (const Buffer &buffer : launch.buffers) {
    memories.emplace_back(buffer);
    const bool same = !buffer.has_content() && buffer.length != ABSENT;
    pointers.push_back(same ? memories.at(buffer.length - SAME).pointer() : memories.back().pointer());
  }
  host::order = order;
  for (uint32_t turn = 0; turn < launch.blocks; ++turn) {
    blockIdx.x = host::in_order(turn, launch.blocks);
    host::begun = false;
    entry.call(entry.kernel, launch.words.data(), pointers.data());
  }
  blockIdx.x = NOWHERE;
  std::vector<Bytes> contents;
  for (size_t at = 0; at < memories.size(); ++at) {
    if (launch.buffers[at].has_content()) contents.push_back(memories[at].content());
  }
  return contents;
}

/// What is wrong with a launch, or nothing; `contents` is what it left.
std::string answer(const Launch &launch, std::vector<Bytes> &contents) {
  const host::Entry *entry = find(launch.name);
  if (!entry) return "there is no kernel '" + launch.name + "'";
  if (entry->words_bytes != launch.words.size()) {
    return launch.name + " takes " + std::to_string(entry->words_bytes) + " bytes of words, not " +
           std::to_string(launch.words.size());
  }
  if (entry->pointers != launch.buffers.size()) {
    return launch.name + " takes " + std::to_string(entry->pointers) + " buffers, not " +
           std::to_string(launch.buffers.size());
  }
  contents = run(launch, *entry, host::Order::Forward);
  for (host::Order order : {host::Order::Backward, host::Order::Scattered}) {
    if (run(launch, *entry, order) != contents) return launch.name + " depends on the order of its threads";
  }
  return "";
}

void list() {
  for (const host::Entry *entry = host::entries; entry; entry = entry->next) {
    write_bytes(entry->name, std::strlen(entry->name));
    write_number(uint32_t(entry->words_bytes));
    write_number(uint32_t(entry->pointers));
  }
  write_number(0);
}

}  // namespace

int main() {
  for (;;) {
    const Bytes name = read_bytes(read_number());
    if (name.empty()) {
      list();
    } else {
      std::vector<Bytes> contents;
      const std::string complaint = answer(read_launch(std::string(name.begin(), name.end())), contents);
      write_bytes(complaint.data(), complaint.size());
      if (!complaint.empty()) contents.clear();
      for (const Bytes &content : contents) std::fwrite(content.data(), 1, content.size(), stdout);
    }
    std::fflush(stdout);
  }
}
