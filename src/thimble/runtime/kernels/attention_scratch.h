// How attention divides its scratch: the same for every instruction set, as a plan must not depend
// on the processor.
#pragma once

#include <cstddef>

#include "thimble/graph/panels.h"

namespace thimble {

inline constexpr size_t kQueryBlock = 32;  // queries whose scores are held at a time

struct AttentionScratch {
  size_t key_panels, value_panels;  // offsets in floats, each a multiple of 16
  size_t scores, scores_stride;
  size_t sums, sums_stride;
  size_t floats;
};

constexpr AttentionScratch DivideAttentionScratch(size_t keys, size_t head_width,
                                                  size_t value_width) {
  AttentionScratch s{};
  s.value_panels = s.key_panels + RoundUp(keys, kPanelWidth) * head_width;
  s.scores = s.value_panels + RoundUp(value_width, kPanelWidth) * keys;
  // Off the powers of two, at which the rows of a block would compete for the same cache lines.
  s.scores_stride = RoundUp(keys, kPanelWidth) + kPanelWidth;
  s.sums = s.scores + kQueryBlock * s.scores_stride;
  s.sums_stride = RoundUp(value_width, kPanelWidth);
  s.floats = s.sums + kQueryBlock * s.sums_stride;
  return s;
}

}  // namespace thimble
