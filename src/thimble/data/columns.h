// Which column (or key) of a file holds what: by the names that publishers use, or as the user says.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/data/dataset.h"

namespace thimble {

struct Columns {
  size_t text = 0;
  std::optional<size_t> pair, label, scores, id;
  std::string label_name;     // in lower case
  bool usual_columns = true;  // the label column is the one that would be taken anyway
};

// Names are compared without regard to ASCII case. Errors list the columns that there are.
Result<Columns> FindColumns(std::span<const std::string> names, const DatasetOptions& options,
                            bool label_needed);

// "label", "labels", "gold_label", ...: the first of the usual names that is there.
std::optional<size_t> UsualLabelColumn(std::span<const std::string> names);

std::string AsciiLower(std::string_view text);

// "0.9" and the like; the whole text must be a finite number.
std::optional<double> NumberOf(std::string_view text);

}  // namespace thimble
