#include "thimble/formats/tflite/tflite_text.h"

#include <algorithm>
#include <cctype>

#include "thimble/base/quote.h"
#include "thimble/base/utf8.h"
#include "thimble/formats/huggingface/tokenizer_files.h"
#include "thimble/formats/torch/bytes.h"
#include "thimble/formats/torch/zip.h"

namespace thimble {
namespace {

constexpr uint32_t kZipEnd = 0x06054b50;
constexpr size_t kZipEndBytes = 22, kMostComment = 0xFFFF;
constexpr size_t kLargestText = size_t{64} << 20;

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// The archive, which counts its offsets from the beginning of the file or from its own.
std::optional<std::span<const std::byte>> FindArchive(std::span<const std::byte> model) {
  if (model.size() < kZipEndBytes) return std::nullopt;
  const size_t last = model.size() - kZipEndBytes;
  for (size_t back = 0; back <= std::min(last, kMostComment); ++back) {
    const size_t at = last - back;
    if (LittleEndian<uint32_t>(model, at) != kZipEnd) continue;
    if (LittleEndian<uint16_t>(model, at + 20) != back) continue;
    const uint64_t directory = LittleEndian<uint32_t>(model, at + 12);
    const uint64_t offset = LittleEndian<uint32_t>(model, at + 16);
    if (directory + offset > at) return model;  // for the reader of archives to refuse
    return model.subspan(at - directory - offset);
  }
  return std::nullopt;
}

}  // namespace

Result<AssociatedFiles> ReadAssociatedFiles(std::span<const std::byte> model) {
  AssociatedFiles files;
  const auto archive = FindArchive(model);
  if (!archive) return files;
  Result<ZipMembers> members = ReadZip(*archive);
  if (!members) return std::move(members).error().In("associated files");
  for (const auto& [name, member] : *members) {
    const Status intact = CheckCrc(member);
    if (!intact) return Error(intact.error()).In("associated file " + Quoted(name));
    files[name] = Text(member.data);
  }
  return files;
}

std::optional<std::string> FindVocabulary(const AssociatedFiles& files) {
  for (const auto& [name, text] : files) {
    if (text.size() > kLargestText) continue;
    const std::vector<std::string_view> lines = Lines(text);
    const auto has = [&](std::string_view piece) {
      return std::find(lines.begin(), lines.end(), piece) != lines.end();
    };
    if (has("[CLS]") && has("[SEP]")) return name;
  }
  return std::nullopt;
}

std::optional<std::string> FindLabels(const AssociatedFiles& files, size_t count) {
  std::optional<std::string> found;
  for (const auto& [name, text] : files) {
    if (text.size() > kLargestText) continue;
    const Result<std::vector<std::string>> labels = ParseLabels(text);
    if (!labels || labels->size() != count) continue;
    if (!found || name.find("label") != name.npos) found = name;
  }
  return found;
}

Result<std::vector<std::string>> ParseLabels(std::string_view text) {
  std::vector<std::string> labels;
  for (const std::string_view line : Lines(text)) {
    if (line.empty()) {
      return InvalidData("line " + std::to_string(labels.size() + 1) + " names no label");
    }
    if (!IsUtf8(line)) {
      return InvalidData("line " + std::to_string(labels.size() + 1) + " is not UTF-8");
    }
    labels.emplace_back(line);
  }
  return labels;
}

Result<TokenizerSpec> VocabularyTokenizer(std::string_view vocabulary,
                                          std::optional<bool> lower_case) {
  if (!lower_case) {
    lower_case = true;
    for (const std::string_view line : Lines(vocabulary)) {
      const bool capital =
          std::any_of(line.begin(), line.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
      if (capital && !line.starts_with('[')) lower_case = false;
    }
  }
  TokenizerSettings settings;
  settings.lower_case = lower_case;
  return TokenizerFromVocabulary(vocabulary, settings);
}

}  // namespace thimble
