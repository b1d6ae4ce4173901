// What `thimble prune` says of its report, report.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace thimble::cli {

// "1.5x": of a target, and of its file.
std::string TargetName(double target);

// Names of the targets whose promise is not kept, "2x, 3x"; empty: none.
std::string MissedTargets(const nlohmann::ordered_json& report);

// For a person: a line per target, and what makes the times uncertain.
std::string PruneTable(const nlohmann::ordered_json& report, const std::string& folder);

}  // namespace thimble::cli
