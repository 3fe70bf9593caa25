// The kernels themselves: the same sources that NVIDIA's compiler gets, compiled for the host.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#define PROOFLOAD_HOST
#include "kernels.h"

#include "standin.h"

namespace standin {

namespace {

const std::vector<Kernel> &all() {
  static const auto *kernels = [] {
    auto *made = new std::vector<Kernel>;
    for (const host::Entry *entry = host::entries; entry; entry = entry->next) {
      const char *slash = std::strrchr(entry->file, '/');
      made->push_back({entry->name, slash ? slash + 1 : entry->file, entry->words_bytes, entry->pointers, entry});
    }
    return made;
  }();
  return *kernels;
}

}  // namespace

const Kernel *find_kernel(const std::string &name) {
  for (const Kernel &kernel : all()) {
    if (name == kernel.name) return &kernel;
  }
  return nullptr;
}

bool has_kernels(const std::string &file) {
  for (const Kernel &kernel : all()) {
    if (file == kernel.file) return true;
  }
  return false;
}

void run_kernel(const Kernel &kernel, uint32_t blocks, const void *words, void *const *pointers) {
  const auto *entry = static_cast<const host::Entry *>(kernel.entry);
  for (uint32_t turn = 0; turn < blocks; ++turn) {
    blockIdx.x = host::in_order(turn, blocks);
    host::begun = false;
    entry->call(entry->kernel, words, pointers);
  }
  blockIdx.x = NOWHERE;
}

}  // namespace standin
