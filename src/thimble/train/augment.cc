#include "thimble/train/augment.h"

#include <algorithm>
#include <string>
#include <utility>

#include "thimble/base/random.h"

namespace thimble::train {

Result<Augment> TokenDropout(double probability, std::vector<int32_t> kept_ids, Task task) {
  if (!(probability > 0 && probability < 1)) {
    return InvalidArgument("the probability of leaving out a token must be between 0 and 1");
  }
  if (task == Task::kTokenLabels || task == Task::kAnswers || task == Task::kMaskedLm) {
    return InvalidArgument("tokens cannot be left out in the task " + std::string(TaskName(task)) +
                           ", which is about single tokens");
  }
  // A stream of its own, apart from those of dropout and masking.
  constexpr uint64_t kStream = 0x746f6b656e;
  return Augment(
      [probability, kept = std::move(kept_ids)](const TrainingExample& example, uint32_t step_key) {
        Random random((static_cast<uint64_t>(step_key) << 32) | example.key, kStream);
        TrainingExample changed = example;
        changed.ids.clear();
        changed.type_ids.clear();
        bool any = false;
        for (size_t t = 0; t < example.ids.size(); ++t) {
          const bool special = std::ranges::find(kept, example.ids[t]) != kept.end();
          if (!special && random.Uniform() < probability) continue;
          any = any || !special;
          changed.ids.push_back(example.ids[t]);
          if (!example.type_ids.empty()) changed.type_ids.push_back(example.type_ids[t]);
        }
        return any ? changed : example;
      });
}

}  // namespace thimble::train
