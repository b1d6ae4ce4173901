#include "tests/support/shared.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/file.h"

namespace thimble {

namespace fs = std::filesystem;

std::optional<fs::path> HuggingFaceGoldens() {
  const char* named = std::getenv("THIMBLE_SHARED");
  const fs::path shared =
      named != nullptr ? fs::path(named) : fs::path(THIMBLE_SOURCE_DIR) / ".." / "shared";
  const fs::path goldens = shared / "goldens" / "hf";
  std::error_code error;
  if (!fs::is_directory(goldens, error)) return std::nullopt;
  return goldens;
}

std::vector<fs::path> GoldenFolders(const char* file, const std::vector<std::string>& model_types) {
  std::vector<fs::path> folders;
  const std::optional<fs::path> root = HuggingFaceGoldens();
  if (!root.has_value()) return folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(*root)) {
    if (!fs::exists(entry.path() / file)) continue;
    const Result<nlohmann::json> config = ReadJson(entry.path() / "config.json");
    if (!config.has_value() || !config->is_object()) continue;
    const std::string type = config->value("model_type", "");
    if (std::find(model_types.begin(), model_types.end(), type) != model_types.end()) {
      folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

Result<nlohmann::json> ReadJson(const fs::path& path) {
  TRY(const std::string text, ReadFile(path.string()));
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidData(path.string() + ": is not JSON");
  return json;
}

}  // namespace thimble
