// NVRTC's place: says which of our sources it was given. What that is compiled to was compiled beforehand.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "standin.h"

using namespace standin;

namespace {

enum Result { SUCCESS = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6 };

struct Program {
  std::string text, log, ptx;
};

/// The last file that the text names is the one with the kernels.
std::string file_of(const std::string &text) {
  const std::string key = "#line 1 \"";
  const size_t at = text.rfind(key);
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size();
  return text.substr(begin, text.find('"', begin) - begin);
}

int target_of(const std::string &option) {
  for (const char *prefix : {"--gpu-architecture=compute_", "--gpu-architecture=sm_"}) {
    if (option.rfind(prefix, 0) == 0) return std::atoi(option.c_str() + std::strlen(prefix));
  }
  return 0;
}

}  // namespace

EXPORT int nvrtcVersion(int *major, int *minor) {
  *major = 13;
  *minor = 0;
  return SUCCESS;
}

EXPORT const char *nvrtcGetErrorString(int) { return "an error of the stand-in"; }

EXPORT int nvrtcCreateProgram(void **program, const char *text, const char *, int headers, const char *const *,
                              const char *const *) {
  if (headers != 0) refuse("a program with headers");
  *program = make("program", std::make_shared<Program>(Program{text, "", ""}));
  return SUCCESS;
}

EXPORT int nvrtcDestroyProgram(void **program) {
  gone("program", *program, "nvrtcDestroyProgram");
  *program = nullptr;
  return SUCCESS;
}

EXPORT int nvrtcCompileProgram(void *handle, int count, const char *const *options) {
  Program &program = get<Program>("program", handle, "nvrtcCompileProgram");
  int target = 0;
  for (int at = 0; at < count; ++at) {
    const std::string option = options[at];
    if (const int named = target_of(option)) {
      target = named;
    } else if (option != "--fmad=true" && option != "--fmad=false") {
      program.log = "nvrtc: error: unrecognized option " + option + " found\n";
      return INVALID_OPTION;
    }
  }
  if (target < 75 || target > 121) {
    program.log = "nvrtc: error: invalid value for --gpu-architecture (-arch)\n";
    return INVALID_OPTION;
  }
  const std::string file = file_of(program.text);
  if (!has_kernels(file)) {
    program.log = file + "(1): error: these are no kernels that the stand-in knows\n1 error detected in the compilation\n";
    return COMPILATION;
  }
  program.ptx = "//\n.version 9.0\n.target sm_" + std::to_string(target) + "\n// the stand-in's program of " + file + "\n// end\n";
  return SUCCESS;
}

// With the zero at the end.
EXPORT int nvrtcGetPTXSize(void *handle, size_t *bytes) {
  const Program &program = get<Program>("program", handle, "nvrtcGetPTXSize");
  *bytes = program.ptx.size() + 1;
  return program.ptx.empty() ? INVALID_PROGRAM : SUCCESS;
}

EXPORT int nvrtcGetPTX(void *handle, char *to) {
  const Program &program = get<Program>("program", handle, "nvrtcGetPTX");
  std::memcpy(to, program.ptx.c_str(), program.ptx.size() + 1);
  return program.ptx.empty() ? INVALID_PROGRAM : SUCCESS;
}

EXPORT int nvrtcGetProgramLogSize(void *handle, size_t *bytes) {
  *bytes = get<Program>("program", handle, "nvrtcGetProgramLogSize").log.size() + 1;
  return SUCCESS;
}

EXPORT int nvrtcGetProgramLog(void *handle, char *to) {
  const Program &program = get<Program>("program", handle, "nvrtcGetProgramLog");
  std::memcpy(to, program.log.c_str(), program.log.size() + 1);
  return SUCCESS;
}
