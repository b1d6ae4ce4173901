#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/formats/safetensors/safetensors.h"

namespace thimble {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = sizeof(uint64_t);
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";

struct HeaderEntry {
  std::optional<StoredType> type;
  std::optional<Shape> shape;
  std::vector<uint64_t> offsets;  // [begin, end]; empty: not given yet
};

struct Header {
  std::map<std::string, HeaderEntry, std::less<>> entries;
  std::map<std::string, std::string> metadata;
};

// Takes the header event by event: whatever does not belong into one stops the parser at once, so that
// neither depth nor size of the JSON text can cost more than the text itself.
class HeaderHandler final : public json::json_sax_t {
 public:
  explicit HeaderHandler(Header& header) : header_(header) {}

  // Why parsing stopped.
  const std::string& problem() const { return problem_; }

  bool start_object(size_t) override {
    switch (state_) {
      case State::kStart:
        return Enter(State::kTop);
      case State::kTop:
        return Enter(in_metadata_ ? State::kMetadata : State::kEntry);
      default:
        return Unexpected("an object");
    }
  }

  bool end_object() override {
    switch (state_) {
      case State::kTop:
        return Enter(State::kEnd);
      case State::kMetadata:
        return Enter(State::kTop);
      case State::kEntry:
        return EndEntry();
      default:
        return Unexpected("the end of an object");
    }
  }

  bool key(std::string& name) override {
    if (state_ == State::kTop) return StartEntry(name);
    key_ = name;
    if (state_ == State::kMetadata) {
      return !header_.metadata.contains(name) || Twice("metadata key", name);
    }
    if (name == "dtype") return !entry_->type || Twice("key", name);
    if (name == "shape") return !entry_->shape || Twice("key", name);
    if (name == "data_offsets") return entry_->offsets.empty() || Twice("key", name);
    return Fail("unknown key " + Quoted(name) + Where());
  }

  bool string(std::string& text) override {
    if (state_ == State::kMetadata) return header_.metadata.emplace(key_, text).second;
    if (state_ != State::kEntry || key_ != "dtype") return Unexpected("a string");
    entry_->type = StoredTypeFromName(text);
    return entry_->type.has_value() || Fail("unknown dtype " + Quoted(text, 40) + Where());
  }

  bool start_array(size_t) override {
    if (state_ != State::kEntry || key_ == "dtype" || key_.empty()) return Unexpected("an array");
    if (key_ == "shape") entry_->shape.emplace();
    return Enter(State::kArray);
  }

  bool end_array() override {
    if (key_ == "data_offsets" && entry_->offsets.size() != 2) return WrongOffsets();
    return Enter(State::kEntry);
  }

  bool number_unsigned(uint64_t number) override {
    if (state_ != State::kArray) return Unexpected("a number");
    if (key_ == "data_offsets") {
      entry_->offsets.push_back(number);
      return entry_->offsets.size() <= 2 || WrongOffsets();
    }
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Fail("a dimension of " + std::to_string(number) + Where());
    }
    entry_->shape->push_back(static_cast<int64_t>(number));
    return entry_->shape->size() <= kMaxStoredRank ||
           Fail("more than " + std::to_string(kMaxStoredRank) + " dimensions" + Where());
  }

  bool number_integer(int64_t) override { return Unexpected("a negative number"); }
  bool number_float(double, const std::string&) override { return Unexpected("a fraction"); }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a truth value"); }
  bool binary(json::binary_t&) override { return Unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail("the header is not JSON at byte " + std::to_string(kLengthBytes + position));
  }

 private:
  enum class State : uint8_t { kStart, kTop, kMetadata, kEntry, kArray, kEnd };

  bool Enter(State state) {
    state_ = state;
    return true;
  }

  bool StartEntry(const std::string& name) {
    name_ = name;
    key_.clear();
    in_metadata_ = name == kMetadataKey;
    if (in_metadata_) return !std::exchange(has_metadata_, true) || Twice("key", name);
    const auto [position, is_new] = header_.entries.try_emplace(name);
    entry_ = &position->second;
    return is_new || Twice("tensor", name);
  }

  bool EndEntry() {
    if (!entry_->type) return Fail("no dtype" + Where());
    if (!entry_->shape) return Fail("no shape" + Where());
    if (entry_->offsets.empty()) return Fail("no data_offsets" + Where());
    return Enter(State::kTop);
  }

  bool Fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool Twice(const char* what, const std::string& name) {
    return Fail(std::string(what) + " " + Quoted(name) + " occurs twice");
  }
  bool Unexpected(const char* what) {
    return Fail(std::string(what) + (state_ == State::kStart ? " where the header should begin"
                                                             : " where none belongs" + Where()));
  }
  bool WrongOffsets() { return Fail("data_offsets are not two numbers" + Where()); }
  std::string Where() const { return " in the header entry " + Quoted(name_); }

  Header& header_;
  State state_ = State::kStart;
  bool in_metadata_ = false, has_metadata_ = false;
  HeaderEntry* entry_ = nullptr;
  std::string name_, key_;
  std::string problem_;
};

Result<Header> ParseHeader(std::span<const std::byte> text) {
  Header header;
  HeaderHandler handler(header);
  const auto* begin = reinterpret_cast<const char*>(text.data());
  if (!json::sax_parse(begin, begin + text.size(), &handler)) return InvalidData(handler.problem());
  return header;
}

// `data` is everything after the header.
Result<StoredTensor> MakeTensor(const HeaderEntry& entry, std::span<const std::byte> data,
                                const std::shared_ptr<const void>& owner) {
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  if (begin > end || end > data.size()) {
    return InvalidData("lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                       " of " + std::to_string(data.size()));
  }
  const std::optional<size_t> count = ElementCount(*entry.shape);
  const size_t width = StoredTypeBytes(*entry.type);
  if (!count || *count > std::numeric_limits<size_t>::max() / width ||
      *count * width != end - begin) {
    return InvalidData("shape " + ShapeText(*entry.shape) + " of " +
                       std::string(StoredTypeName(*entry.type)) + " does not fill its " +
                       std::to_string(end - begin) + " bytes");
  }
  return StoredTensor{.type = *entry.type,
                      .shape = *entry.shape,
                      .strides = {},
                      .data = data.subspan(begin, end - begin),
                      .owner = owner};
}

// Tensors must follow one another and fill the data.
Status CheckCoverage(const Header& header, size_t data_bytes) {
  struct Part {
    uint64_t begin, end;
    const std::string* name;
  };
  std::vector<Part> parts;
  parts.reserve(header.entries.size());
  for (const auto& [name, entry] : header.entries) {
    parts.push_back({entry.offsets[0], entry.offsets[1], &name});
  }
  // Empty tensors may share their begin with the next one.
  std::ranges::sort(parts, {}, [](const Part& p) { return std::pair(p.begin, p.end); });
  uint64_t covered = 0;
  for (const Part& part : parts) {
    if (part.begin < covered) {
      return InvalidData("tensor " + Quoted(*part.name) + " overlaps the one before it");
    }
    if (part.begin > covered) {
      return InvalidData("a gap of " + std::to_string(part.begin - covered) +
                         " bytes before tensor " + Quoted(*part.name));
    }
    covered = part.end;
  }
  if (covered != data_bytes) {
    return InvalidData(std::to_string(data_bytes - covered) + " bytes after the last tensor");
  }
  return {};
}

}  // namespace

Result<SafetensorsFile> ParseSafetensors(std::span<const std::byte> file,
                                         std::shared_ptr<const void> owner) {
  uint64_t header_bytes = 0;
  if (file.size() < kLengthBytes) return InvalidData("is too short for a safetensors file");
  for (size_t i = kLengthBytes; i-- > 0;) {
    header_bytes = header_bytes << 8 | static_cast<uint64_t>(file[i]);
  }
  if (header_bytes > kMaxHeaderBytes) {
    return InvalidData("is not a safetensors file: a header of " + std::to_string(header_bytes) +
                       " bytes, more than " + std::to_string(kMaxHeaderBytes));
  }
  if (header_bytes > file.size() - kLengthBytes) {
    return InvalidData("is truncated or not a safetensors file: a header of " +
                       std::to_string(header_bytes) + " bytes in a file of " +
                       std::to_string(file.size()));
  }
  TRY(Header header, ParseHeader(file.subspan(kLengthBytes, header_bytes)));
  const std::span<const std::byte> data = file.subspan(kLengthBytes + header_bytes);
  SafetensorsFile out;
  for (const auto& [name, entry] : header.entries) {
    Result<StoredTensor> tensor = MakeTensor(entry, data, owner);
    if (!tensor) return std::move(tensor).error().In("tensor " + Quoted(name));
    out.tensors.emplace_hint(out.tensors.end(), name, *std::move(tensor));
  }
  TRY_VOID(CheckCoverage(header, data.size()));
  out.metadata = std::move(header.metadata);
  return out;
}

Result<SafetensorsFile> OpenSafetensors(const std::string& path) {
  TRY(const MappedFile file, MappedFile::Open(path));
  Result<SafetensorsFile> parsed = ParseSafetensors(file.bytes(), file.owner());
  if (!parsed) return std::move(parsed).error().In(path);
  return parsed;
}

}  // namespace thimble
