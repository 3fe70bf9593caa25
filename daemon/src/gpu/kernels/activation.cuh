// Functions of one number. `alpha` and `beta` are the operator's attributes.

// clang-format off
#define FORMULA(Name, formula)                                                    \
  struct Name {                                                                   \
    FUNCTION float of(float x, float alpha, float beta) {                         \
      (void)alpha, (void)beta;                                                    \
      return formula;                                                             \
    }                                                                             \
  };

FUNCTION float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }
/// A NaN stays one. The upper bound holds where they contradict each other.
FUNCTION float clipped(float x, float low, float high) {
  const float raised = x < low ? low : x;
  return raised > high ? high : raised;
}
/// Of the argument of GELU's approximation by tanh.
FUNCTION float gelu_inner(float x) { return 0.7978845608028654f * (x + 0.044715f * x * x * x); }

FORMULA(none, x)
FORMULA(relu, x < 0.0f ? 0.0f : x)
FORMULA(leaky_relu, x < 0.0f ? alpha * x : x)
FORMULA(sigmoid, sigmoid_of(x))
FORMULA(tanh_, tanhf(x))
// With erfc: 1 + erf would lose all digits where x is far below zero.
FORMULA(gelu, 0.5f * x * erfcf(-0.7071067811865476f * x))
// 1 + tanh(u) is twice the sigmoid of 2 u, which keeps its digits.
FORMULA(gelu_tanh, x * sigmoid_of(2.0f * gelu_inner(x)))
FORMULA(silu, x * sigmoid_of(x))
FORMULA(clip, clipped(x, alpha, beta))
FORMULA(hard_sigmoid, clipped(alpha * x + beta, 0.0f, 1.0f))
FORMULA(hard_swish, x * clipped(x / 6.0f + 0.5f, 0.0f, 1.0f))
FORMULA(elu, x < 0.0f ? alpha * expm1f(x) : x)
FORMULA(erf_, erff(x))
FORMULA(exp_, expf(x))
FORMULA(log_, logf(x))
FORMULA(sqrt_, sqrtf(x))
FORMULA(reciprocal, 1.0f / x)
FORMULA(neg, -x)
FORMULA(abs_, fabsf(x))

/// Applies a macro to each: the kernels' label, and the structure above.
#define FUNCTIONS(EACH)                                                                                             \
  EACH(none, none) EACH(relu, relu) EACH(leaky_relu, leaky_relu) EACH(sigmoid, sigmoid) EACH(tanh, tanh_)           \
  EACH(gelu, gelu) EACH(gelu_tanh, gelu_tanh) EACH(silu, silu) EACH(clip, clip) EACH(hard_sigmoid, hard_sigmoid)    \
  EACH(hard_swish, hard_swish) EACH(elu, elu) EACH(erf, erf_) EACH(exp, exp_) EACH(log, log_) EACH(sqrt, sqrt_)     \
  EACH(reciprocal, reciprocal) EACH(neg, neg) EACH(abs, abs_)
// clang-format on
