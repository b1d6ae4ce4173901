#include "thimble/train/schedule.h"

#include <algorithm>
#include <cmath>

namespace thimble::train {

std::optional<ScheduleKind> ScheduleFromName(std::string_view name) {
  if (name == "constant") return ScheduleKind::kConstant;
  if (name == "linear") return ScheduleKind::kLinear;
  if (name == "cosine") return ScheduleKind::kCosine;
  return std::nullopt;
}

double RateAt(const Schedule& schedule, int64_t step) {
  if (step <= schedule.warmup_steps) {
    return static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
  }
  const auto rest =
      static_cast<double>(std::max<int64_t>(1, schedule.total_steps - schedule.warmup_steps));
  const double done =
      std::clamp(static_cast<double>(step - schedule.warmup_steps) / rest, 0.0, 1.0);
  double share = 1;
  if (schedule.kind == ScheduleKind::kLinear) share = 1 - done;
  if (schedule.kind == ScheduleKind::kCosine)
    share = 0.5 * (1 + std::cos(3.141592653589793 * done));
  return schedule.final_share + (1 - schedule.final_share) * share;
}

}  // namespace thimble::train
