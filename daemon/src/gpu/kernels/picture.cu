// A picture of bytes as planes of numbers: each sample is the mean of the pixels that it covers, as on the CPU
// (relief/picture.rs), whose sums of whole numbers it shares. Then every channel is stretched and shifted as a network
// wants it.
//
// Geometry: `lanes` threads a sample, a power of two up to BLOCK, that share its pixels; BLOCK / lanes samples a block;
// blocks = ceil(samples / (BLOCK / lanes)). Shared memory: a sum a thread and channel, 4096 bytes.

constexpr unsigned CHANNELS = 4;

struct ShrinkWords {
  /// Of the picture: pixels in a row, rows, and bytes a pixel: grey, red-green-blue, or that with alpha.
  unsigned width, height, channels;
  /// Of the result.
  unsigned columns, rows;
  unsigned lanes;
  /// value * gain + shift, of each plane.
  float gain[3], shift[3];
};

/// The pixels under a sample: the first, and how many along a side.
struct Span {
  unsigned first, length;
};

FUNCTION Span span(unsigned at, unsigned samples, unsigned pixels) {
  const unsigned first = at * pixels / samples;
  return {first, (at + 1) * pixels / samples - first};
}

/// What is transparent is background, and the background is dark.
FUNCTION unsigned on_black(unsigned channel, unsigned alpha) { return (channel * alpha + 127) / 255; }

FUNCTION void add_pixel(unsigned (&sums)[CHANNELS], const unsigned char *pixel, unsigned channels) {
  for (unsigned channel = 0; channel < channels; ++channel) {
    const bool covered = channels == CHANNELS && channel + 1 < CHANNELS;
    sums[channel] += covered ? on_black(pixel[channel], pixel[CHANNELS - 1]) : pixel[channel];
  }
}

template <class T>
FUNCTION void shrink(const ShrinkWords &words, const unsigned char *RESTRICT pixels, T *RESTRICT planes,
                     float *RESTRICT alpha) {
  SHARED(unsigned, sums, CHANNELS *BLOCK);
  const unsigned samples = words.columns * words.rows;
  EACH_THREAD {
    unsigned mine[CHANNELS] = {};
    const unsigned sample = global_thread() / words.lanes;
    if (sample < samples) {
      const Span lines = span(sample / words.columns, words.rows, words.height);
      const Span places = span(sample % words.columns, words.columns, words.width);
      for (unsigned at = threadIdx.x % words.lanes; at < lines.length * places.length; at += words.lanes) {
        const unsigned line = lines.first + at / places.length, place = places.first + at % places.length;
        add_pixel(mine, pixels + (line * words.width + place) * words.channels, words.channels);
      }
    }
    for (unsigned channel = 0; channel < CHANNELS; ++channel) sums[channel * BLOCK + threadIdx.x] = mine[channel];
  }
  for (unsigned half = words.lanes / 2; half > 0; half /= 2) {
    PHASE {
      if (threadIdx.x % words.lanes >= half) continue;
      for (unsigned at = threadIdx.x; at < CHANNELS * BLOCK; at += BLOCK) sums[at] = sums[at] + sums[at + half];
    }
  }
  PHASE {
    const unsigned sample = global_thread() / words.lanes;
    if (threadIdx.x % words.lanes != 0 || sample >= samples) continue;
    const Span lines = span(sample / words.columns, words.rows, words.height);
    const Span places = span(sample % words.columns, words.columns, words.width);
    const float scale = 1.0f / (255.0f * float(lines.length * places.length));
    for (unsigned plane = 0; plane < 3; ++plane) {
      // Grey has one channel, which stands for all three.
      const unsigned channel = words.channels == 1 ? 0 : plane;
      const float light = float(sums[channel * BLOCK + threadIdx.x]) * scale;
      planes[plane * samples + sample] = narrow<T>(light * words.gain[plane] + words.shift[plane]);
    }
    if (words.channels == CHANNELS && alpha) {
      alpha[sample] = float(sums[(CHANNELS - 1) * BLOCK + threadIdx.x]) * scale;
    }
  }
}

KERNEL(shrink_f32, ShrinkWords words, const unsigned char *pixels, float *planes, float *alpha) {
  shrink(words, pixels, planes, alpha);
}
KERNEL(shrink_f16, ShrinkWords words, const unsigned char *pixels, half_t *planes, float *alpha) {
  shrink(words, pixels, planes, alpha);
}
