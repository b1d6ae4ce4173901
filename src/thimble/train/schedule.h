// The learning rate as a function of the step.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace thimble::train {

enum class ScheduleKind : uint8_t {
  kConstant,
  kLinear,  // down to `final_share` of the peak at the last step
  kCosine,
};
std::optional<ScheduleKind> ScheduleFromName(
    std::string_view name);  // "constant", "linear", "cosine"

struct Schedule {
  ScheduleKind kind = ScheduleKind::kLinear;
  int64_t warmup_steps = 0;  // rises linearly to 1 over these
  int64_t total_steps = 1;
  double final_share = 0;
};

// Times the peak rate, for step 1 .. total_steps: step 1 of a warm-up of w steps has 1 / w.
double RateAt(const Schedule& schedule, int64_t step);

}  // namespace thimble::train
