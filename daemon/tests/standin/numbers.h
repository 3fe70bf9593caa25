// Numbers as they lie in the device's memory, for libraries that compute with plain loops.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace standin {

enum class Number { F32, F16, I8, I32 };

inline size_t bytes_of(Number number) {
  switch (number) {
    case Number::F32: case Number::I32: return 4;
    case Number::F16: return 2;
    default: return 1;
  }
}

inline float of_half(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = half >> 10 & 31, digits = half & 1023;
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * std::ldexp(float(digits), -24);
  const uint32_t bits = sign | (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23) | digits << 13;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// To the nearest, the even one of two that are as near.
inline uint16_t to_half(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float size = std::fabs(value);
  if (std::isnan(value)) return 0x7FFF;
  if (size >= 65520.0f) return sign | 0x7C00;
  if (size < 6.103515625e-05f) return sign | uint16_t(std::nearbyint(std::ldexp(size, 24)));
  int exponent;
  const float digits = std::frexp(size, &exponent);
  const auto whole = uint32_t(std::nearbyint(std::ldexp(digits, 11)));
  // A carry goes on into the exponent.
  return sign | uint16_t((uint32_t(exponent + 13) << 10) + whole);
}

/// Without the digits that TF32 does not have.
inline float to_tf32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x0FFFu + (bits >> 13 & 1)) & ~0x1FFFu;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline std::vector<float> floats(const void *from, size_t count, Number number, bool tf32) {
  std::vector<float> values(count);
  const auto *bytes = static_cast<const unsigned char *>(from);
  for (size_t at = 0; at < count; ++at) {
    uint16_t half;
    int32_t whole;
    switch (number) {
      case Number::F32: std::memcpy(&values[at], bytes + 4 * at, 4); break;
      case Number::F16: std::memcpy(&half, bytes + 2 * at, 2); values[at] = of_half(half); break;
      case Number::I8: values[at] = float(static_cast<const int8_t *>(from)[at]); break;
      case Number::I32: std::memcpy(&whole, bytes + 4 * at, 4); values[at] = float(whole); break;
    }
    if (tf32 && number == Number::F32) values[at] = to_tf32(values[at]);
  }
  return values;
}

inline void put(void *to, size_t at, float value, Number number) {
  auto *bytes = static_cast<unsigned char *>(to) + at * bytes_of(number);
  const uint16_t half = number == Number::F16 ? to_half(value) : 0;
  const auto whole = number == Number::I32 ? int32_t(value) : 0;
  switch (number) {
    case Number::F32: std::memcpy(bytes, &value, 4); break;
    case Number::F16: std::memcpy(bytes, &half, 2); break;
    case Number::I32: std::memcpy(bytes, &whole, 4); break;
    case Number::I8: *reinterpret_cast<int8_t *>(bytes) = int8_t(value); break;
  }
}

}  // namespace standin
