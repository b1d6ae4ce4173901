#include "thimble/pipeline/calls.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <regex>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/base/sha256.h"
#include "thimble/pipeline/files.h"

namespace thimble::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Part of every key: another way to make keys or records needs another name.
constexpr const char* kKeyFormat = "thimble-pipeline-1";
constexpr int kLimitNotMetExit = 3, kInterruptedExit = 130;

std::string Dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// What a program said last, in one line.
std::string LastLine(const std::string& path) {
  const Result<std::string> text = ReadFile(path);
  if (!text) return "";
  std::string line;
  size_t begin = 0;
  while (begin < text->size()) {
    const size_t end = std::min(text->find('\n', begin), text->size());
    if (end > begin) line = text->substr(begin, end - begin);
    begin = end + 1;
  }
  constexpr std::string_view kProgram = "thimble: ";
  return line.starts_with(kProgram) ? line.substr(kProgram.size()) : line;
}

// The last JSON document of a program's output.
Json ResultIn(const std::string& path) {
  const Result<std::string> text = ReadFile(path);
  if (!text) return nullptr;
  Json whole = Json::parse(*text, nullptr, false);
  if (!whole.is_discarded()) return whole;
  Json last = Json::parse(LastLine(path), nullptr, false);
  return last.is_discarded() ? Json() : last;
}

}  // namespace

Result<std::string> Calls::HashOf(const std::string& path) {
  const auto known = hashes_.find(path);
  if (known != hashes_.end()) return known->second;
  TRY(std::string hash, ContentHash(path));
  hashes_[path] = hash;
  return hash;
}

Result<Word> Calls::FileWord(const std::string& path) {
  TRY(const std::string hash, HashOf(path));
  return Word{path, "sha256:" + hash};
}

std::string Calls::KeyOf(const Call& call) const {
  Json parts = {kKeyFormat, o_.version, call.verb->name, call.output};
  if ((call.verb->flags & kTimes) != 0) parts.push_back(o_.machine);
  for (const Word& word : call.words) parts.push_back(word.key);
  Sha256 hash;
  const std::string text = Dump(parts);
  hash.Update(std::as_bytes(std::span(text)));
  return std::move(hash).HexDigest();
}

// The record of an earlier call whose output is still what it wrote.
std::optional<Json> Calls::Recall(const std::string& folder, const std::string& key,
                                  const std::string& output) {
  const Result<std::string> text = ReadFile(folder + "/call.json");
  if (!text) return std::nullopt;
  Json record = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object() || record.value("key", "") != key) return std::nullopt;
  if (record.contains("output_sha256")) {
    const Result<std::string> hash = ContentHash(output);
    if (!hash || *hash != record.value("output_sha256", "")) return std::nullopt;
    hashes_[output] = *hash;
  }
  return record;
}

Result<Made> Calls::Make(const std::string& name, const Call& call) {
  TRY_VOID(o_.check_interrupt());
  const std::string key = KeyOf(call);
  const std::string folder =
      o_.folder + "/steps/" + std::string(call.verb->name) + "-" + key.substr(0, 16);
  Made made{.output = call.output.empty() ? "" : folder + "/" + call.output};
  if (auto record = Recall(folder, key, made.output)) {
    made.record = *std::move(record);
    made.reused = true;
    Count(made.record);
    return made;
  }

  std::vector<std::string> arguments = {std::string(call.verb->name)};
  for (const Word& word : call.words) arguments.push_back(word.text);
  if (!made.output.empty()) arguments.insert(arguments.end(), {"-o", made.output});
  arguments.emplace_back("--json");
  made.record = {{"verb", call.verb->name}, {"key", key}, {"command", arguments}};
  std::error_code error;
  if (o_.resume && (call.verb->flags & kResumes) != 0 && fs::exists(folder, error)) {
    arguments.emplace_back("--resume");
  } else {
    fs::remove_all(folder, error);
  }
  TRY_VOID(MakeFolder(folder));
  o_.tell(name + ": thimble " + std::string(call.verb->name) + " ...");
  const std::string out = folder + "/stdout", log = folder + "/log";
  UsageMeter meter;
  TRY(const int code, o_.run(arguments, out, log));
  const Usage usage = meter.Read();
  const std::string last = LastLine(log);
  if (code == kInterruptedExit) {
    return Error(ErrorCode::kInterrupted,
                 "stopped in step " + name + "; the same call with --resume goes on from there");
  }
  if (code != 0 && code != kLimitNotMetExit) {
    const ErrorCode kind = code == 2   ? ErrorCode::kInvalidArgument
                           : code == 4 ? ErrorCode::kMismatch
                                       : ErrorCode::kInvalidData;
    return Error(
        kind, "step " + name + ": " + (last.empty() ? "exit code " + std::to_string(code) : last));
  }
  made.record["exit_code"] = code;
  if (code != 0) made.record["error"] = last;
  made.record["seconds"] = usage.wall_seconds;
  made.record["cpu_seconds"] = usage.cpu_seconds;
  made.record["joules"] = usage.joules;
  made.record["joules_measured"] = usage.measured;
  made.record["result"] = ResultIn(out);
  if (code == 0 && !made.output.empty()) {
    hashes_.erase(made.output);
    TRY(const std::string hash, HashOf(made.output));
    made.record["output_sha256"] = hash;
  }
  TRY_VOID(WriteText(folder + "/call.json", Dump(made.record, 1) + "\n"));
  std::remove(out.c_str());
  Count(made.record);
  return made;
}

void Calls::Count(const Json& record) {
  if (!counted_.insert(record["key"].get<std::string>()).second) return;
  spent_ += Usage{.wall_seconds = record["seconds"].get<double>(),
                  .cpu_seconds = record["cpu_seconds"].get<double>(),
                  .joules = record["joules"].get<double>(),
                  .measured = record["joules_measured"].get<bool>()};
}

Result<std::vector<std::string>> Calls::OptionsOf(const StepVerb& verb) {
  const std::string out = o_.folder + "/help", log = o_.folder + "/help.log";
  TRY(const int code, o_.run({std::string(verb.name), "--help"}, out, log));
  Result<std::string> text = ReadFile(out);
  const std::string last = LastLine(log);
  std::remove(out.c_str());
  std::remove(log.c_str());
  if (code != 0 || !text) return NotFound(last.empty() ? "thimble --help failed" : last);
  std::vector<std::string> names;
  static const std::regex option("--([a-z][a-z0-9_-]*)");
  for (std::sregex_iterator it(text->begin(), text->end(), option), end; it != end; ++it) {
    names.push_back((*it)[1]);
  }
  return names;
}

}  // namespace thimble::pipeline
