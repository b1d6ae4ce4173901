// Where the optional goldens lie: the environment variable THIMBLE_SHARED, or the folder `shared`
// beside the checkout.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "thimble/base/result.h"

#include <nlohmann/json_fwd.hpp>

namespace thimble {

// goldens/hf in there, if it is there.
std::optional<std::filesystem::path> HuggingFaceGoldens();

// Folders in there that hold `file` and whose config.json names one of these model types; sorted.
std::vector<std::filesystem::path> GoldenFolders(const char* file,
                                                 const std::vector<std::string>& model_types);

Result<nlohmann::json> ReadJson(const std::filesystem::path& path);

}  // namespace thimble
