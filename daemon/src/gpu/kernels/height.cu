// From depths to heights in millimetres, as on the CPU (relief/height.rs), step by step: what is no number is noticed,
// depths are smoothed along rows and columns, two shares of them are found by their rank, and what lies between is
// stretched over the base.
//
// Geometry: one sample a thread, blocks = ceil(samples / BLOCK). `count_ranks` takes EACH samples a thread and has 2048
// bytes of shared memory; `narrow_ranks` is one block with 2048 bytes of shared memory.

struct CheckWords {
  unsigned count;
};

/// Sets `flag` where a depth is infinite or no number.
KERNEL(height_check, CheckWords words, const float *depths, unsigned *flag) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    if ((bits_of_float(depths[at]) & 0x7F800000u) == 0x7F800000u) flag[0] = 1;
  }
}

struct SmoothWords {
  unsigned columns, rows, radius;
};

/// `weights` are those of the kernel's middle and of one side, `sums` what they add up to at each place of a line, which
/// is less at its ends.
KERNEL(height_smooth_rows, SmoothWords words, const float *weights, const float *sums, const float *source,
       float *smooth) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.columns * words.rows) continue;
    const unsigned place = at % words.columns;
    const unsigned first = place < words.radius ? 0 : place - words.radius;
    const unsigned last = place + words.radius < words.columns ? place + words.radius : words.columns - 1;
    float sum = 0.0f;
    for (unsigned from = first; from <= last; ++from) {
      sum += weights[from < place ? place - from : from - place] * source[at - place + from];
    }
    smooth[at] = sum / sums[place];
  }
}

KERNEL(height_smooth_columns, SmoothWords words, const float *weights, const float *sums, const float *source,
       float *smooth) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.columns * words.rows) continue;
    const unsigned place = at / words.columns, column = at % words.columns;
    const unsigned first = place < words.radius ? 0 : place - words.radius;
    const unsigned last = place + words.radius < words.rows ? place + words.radius : words.rows - 1;
    float sum = 0.0f;
    for (unsigned from = first; from <= last; ++from) {
      const float weight = weights[from < place ? place - from : from - place] / sums[place];
      sum += weight * source[from * words.columns + column];
    }
    smooth[at] = sum;
  }
}

struct ResampleWords {
  unsigned columns, rows, source_columns, source_rows;
};

/// A mask over another number of samples, each taken from the nearest.
KERNEL(height_resample, ResampleWords words, const float *source, float *mask) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.columns * words.rows) continue;
    const unsigned row = (2 * (at / words.columns) + 1) * words.source_rows / (2 * words.rows);
    const unsigned column = (2 * (at % words.columns) + 1) * words.source_columns / (2 * words.columns);
    mask[at] = source[row * words.source_columns + column];
  }
}

// Two ranks are searched at once, from their keys' first byte to the last: `count_ranks` counts the bytes of those
// samples that share the bytes found so far, `narrow_ranks` picks the byte under which the rank lies.

constexpr unsigned RANKS = 2, BYTES = 256, EACH = 16;

/// What the search remembers, in words: zero at first.
constexpr unsigned FOUND = 0, RANK = 2, SEEN = 4, COUNTS = 8, STATE = COUNTS + RANKS * BYTES;

/// Keys are ordered as the numbers are, with -0 below 0.
FUNCTION unsigned key_of(float value) {
  const unsigned bits = bits_of_float(value);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

FUNCTION float value_of(unsigned key) { return float_of_bits(key >> 31 ? key & 0x7FFFFFFFu : ~key); }

struct CountWords {
  unsigned count, pass;
};

/// Only what the mask lets through counts, where there is a mask.
KERNEL(height_count_ranks, CountWords words, const float *values, const float *mask, unsigned *state) {
  SHARED(unsigned, counts, RANKS *BYTES);
  const unsigned shift = 24 - 8 * words.pass;
  EACH_THREAD {
    for (unsigned at = threadIdx.x; at < RANKS * BYTES; at += BLOCK) counts[at] = 0;
  }
  PHASE {
    for (unsigned step = 0; step < EACH; ++step) {
      const unsigned at = (blockIdx.x * EACH + step) * BLOCK + threadIdx.x;
      if (at >= words.count || (mask && !(mask[at] >= 0.5f))) continue;
      const unsigned key = key_of(values[at]);
      for (unsigned rank = 0; rank < RANKS; ++rank) {
        // The bytes above this one; of the first there are none.
        const bool shared = words.pass == 0 || key >> (shift + 8) == state[FOUND + rank];
        if (shared) ATOMIC_ADD(counts[rank * BYTES + (key >> shift & 255u)], 1u);
      }
    }
  }
  PHASE {
    for (unsigned at = threadIdx.x; at < RANKS * BYTES; at += BLOCK) {
      const unsigned count = counts[at];
      if (count > 0) ATOMIC_ADD(state[COUNTS + at], count);
    }
  }
}

struct NarrowWords {
  unsigned pass;
  /// The two shares, as doubles.
  unsigned shares[2 * RANKS];
};

/// One block. Behind the last pass the state's first two words are the keys that were searched, and its fifth is how many
/// samples were seen; its counts are zero again.
KERNEL(height_narrow_ranks, NarrowWords words, unsigned *state) {
  SHARED(unsigned, sums, RANKS *BYTES);
  PER_THREAD(uint2, moved);
  PER_THREAD(uint2, ranks);
  EACH_THREAD {
    for (unsigned rank = 0; rank < RANKS; ++rank) {
      const unsigned at = rank * BYTES + threadIdx.x;
      sums[at] = state[COUNTS + at];
      state[COUNTS + at] = 0;
    }
  }
  // Every count becomes the sum of all up to it.
  for (unsigned step = 1; step < BYTES; step *= 2) {
    PHASE {
      const unsigned at = threadIdx.x;
      MINE(moved).x = at < step ? 0 : unsigned(sums[at - step]);
      MINE(moved).y = at < step ? 0 : unsigned(sums[BYTES + at - step]);
    }
    PHASE {
      sums[threadIdx.x] = sums[threadIdx.x] + MINE(moved).x;
      sums[BYTES + threadIdx.x] = sums[BYTES + threadIdx.x] + MINE(moved).y;
    }
  }
  PHASE {
    unsigned rank[RANKS] = {state[RANK], state[RANK + 1]};
    if (words.pass == 0) {
      const unsigned seen = sums[BYTES - 1];
      for (unsigned at = 0; at < RANKS; ++at) {
        const double share = double_of(words.shares[2 * at], words.shares[2 * at + 1]);
        rank[at] = seen == 0 ? 0 : unsigned(round(share * double(seen - 1)));
      }
    }
    MINE(ranks).x = rank[0];
    MINE(ranks).y = rank[1];
  }
  PHASE {
    if (words.pass == 0 && threadIdx.x == 0) state[SEEN] = sums[BYTES - 1];
    for (unsigned rank = 0; rank < RANKS; ++rank) {
      const unsigned wanted = rank == 0 ? MINE(ranks).x : MINE(ranks).y, at = rank * BYTES + threadIdx.x;
      const unsigned below = threadIdx.x == 0 ? 0 : unsigned(sums[at - 1]);
      if (wanted < below || wanted >= sums[at]) continue;
      state[FOUND + rank] = words.pass == 0 ? threadIdx.x : state[FOUND + rank] << 8 | threadIdx.x;
      state[RANK + rank] = wanted - below;
    }
  }
}

struct StretchWords {
  unsigned count, invert;
  float base, height, least_contrast;
};

FUNCTION float share_of(float value, float low, float contrast) {
  const float share = (value - low) / contrast;
  return share < 0.0f ? 0.0f : share > 1.0f ? 1.0f : share;
}

/// With a mask the range is that of what it lets through, and without contrast there the mask itself is the relief.
KERNEL(height_stretch, StretchWords words, const float *values, const float *mask, const unsigned *state,
       float *heights) {
  EACH_THREAD {
    const unsigned at = global_thread();
    if (at >= words.count) continue;
    const bool seen = state[SEEN] > 0;
    const float low = seen ? value_of(state[FOUND]) : 0.0f, high = seen ? value_of(state[FOUND + 1]) : 0.0f;
    const float contrast = high - low;
    const bool flat = contrast < words.least_contrast;
    const float relief = flat ? (mask ? 1.0f : 0.0f) : share_of(values[at], low, contrast);
    const float share = mask ? mask[at] * relief : relief;
    const bool inverted = words.invert && (mask || !flat);
    heights[at] = words.base + words.height * (inverted ? 1.0f - share : share);
  }
}
