#include "thimble/train/teacher_cache.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "thimble/base/sha256.h"
#include "thimble/runtime/session.h"

namespace thimble::train {
namespace {

// The file: kMagic, 64 hexadecimal digits of its key, then the values, example after example, each with the rows of
// all outputs in order. Where what lies follows from the examples, so nothing else is stored.
constexpr std::string_view kMagic = "thimble teacher 1\n";
constexpr size_t kKeyDigits = 64;
constexpr size_t kHeaderBytes = 128;  // padded with blanks

constexpr size_t kBatchTokens = 2048;

std::string KeyOf(const std::string& teacher_key, std::span<const std::string> outputs,
                  size_t examples, const TeacherCache::IdsOf& ids_of) {
  Sha256 hash;
  const auto text = [&](const std::string& s) {
    hash.Update(std::as_bytes(std::span(s)));
    hash.Update(std::as_bytes(std::span("\n", 1)));
  };
  text(teacher_key);
  for (const std::string& output : outputs) text(output);
  for (size_t i = 0; i < examples; ++i) {
    const TrainingExample& e = ids_of(i);
    hash.Update(std::as_bytes(std::span(e.ids)));
    hash.Update(std::as_bytes(std::span(e.type_ids)));
    text("");
  }
  return std::move(hash).HexDigest();
}

std::string Header(const std::string& key) {
  std::string header(kMagic);
  header += key;
  header.resize(kHeaderBytes - 1, ' ');
  return header + "\n";
}

// Runs the teacher over all examples and appends what it gives to the file, batch by batch.
Status RunTeacher(const Graph& teacher, std::span<const std::string> outputs, size_t examples,
                  const TeacherCache::IdsOf& ids_of, int threads,
                  const std::function<Status(double)>& progress, AtomicFile& file) {
  TRY(Session session,
      Session::Create(teacher, {.threads = threads, .outputs = {outputs.begin(), outputs.end()}}));
  std::vector<float> values;
  Batch batch;
  for (size_t i = 0; i < examples; ++i) {
    const TrainingExample& e = ids_of(i);
    batch.Add(e.ids, e.type_ids);
    if (batch.tokens() < kBatchTokens && i + 1 < examples) continue;
    TRY_VOID(session.Run(batch));
    values.clear();
    for (size_t s = 0; s < batch.sequences(); ++s) {
      for (size_t o = 0; o < outputs.size(); ++o) {
        const OutputView view = session.output(o);
        const bool per_token = view.per == Rows::kTokens;
        const size_t first = per_token ? batch.offset(s) : s;
        const size_t end = per_token ? batch.offset(s + 1) : s + 1;
        for (size_t r = first; r < end; ++r) {
          values.insert(values.end(), view.row(r).begin(), view.row(r).end());
        }
      }
    }
    TRY_VOID(file.Append(std::as_bytes(std::span(values))));
    batch.Clear();
    TRY_VOID(progress(static_cast<double>(i + 1) / static_cast<double>(examples)));
  }
  return {};
}

}  // namespace

Result<TeacherCache> TeacherCache::Open(const std::string& folder, const Graph& teacher,
                                        const std::string& teacher_key,
                                        std::span<const std::string> outputs, size_t examples,
                                        const IdsOf& ids_of, int threads,
                                        const std::function<Status(double)>& progress) {
  TeacherCache cache;
  for (const std::string& name : outputs) {
    const GraphOutput* output = teacher.FindOutput(name);
    if (output == nullptr) return InvalidArgument("the teacher has no output '" + name + "'");
    const ValueType type = teacher.value(output->value).type;
    cache.outputs_.push_back(
        {.width = type.width, .per_token = type.rows == Rows::kTokens, .begin = {}});
  }
  uint64_t at = 0;
  for (size_t i = 0; i < examples; ++i) {
    for (OutputLayout& layout : cache.outputs_) {
      layout.begin.push_back(at);
      at += static_cast<uint64_t>(layout.width) * (layout.per_token ? ids_of(i).ids.size() : 1);
      layout.end.push_back(at);
    }
  }
  const std::string key = KeyOf(teacher_key, outputs, examples, ids_of);
  const std::string header = Header(key);
  const size_t bytes = kHeaderBytes + at * sizeof(float);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return IoError(folder + ": " + error.message());
  cache.path_ = (std::filesystem::path(folder) / (key.substr(0, 16) + ".teacher")).string();

  const auto map = [&]() -> Result<MappedFile> {
    TRY(MappedFile file, MappedFile::Open(cache.path_));
    if (file.bytes().size() != bytes ||
        std::memcmp(file.bytes().data(), header.data(), kHeaderBytes) != 0) {
      return InvalidData(cache.path_ + ": it is not what its name says");
    }
    return file;
  };
  if (Result<MappedFile> file = map(); file.has_value()) {
    cache.file_ = *std::move(file);
    return cache;
  }
  TRY(const FileLock lock, FileLock::Acquire(cache.path_ + ".lock", [&] { return progress(0); }));
  if (Result<MappedFile> file = map(); file.has_value()) {  // made by another process meanwhile
    cache.file_ = *std::move(file);
    return cache;
  }
  TRY(AtomicFile file, AtomicFile::Create(cache.path_));
  TRY_VOID(file.Append(header));
  TRY_VOID(RunTeacher(teacher, outputs, examples, ids_of, threads, progress, file));
  TRY_VOID(file.Commit());
  cache.computed_ = true;
  TRY(cache.file_, map());
  return cache;
}

at::Tensor TeacherCache::Get(size_t output, std::span<const size_t> examples) const {
  const OutputLayout& layout = outputs_[output];
  uint64_t count = 0;
  for (const size_t i : examples) count += layout.end[i] - layout.begin[i];
  const at::Tensor rows =
      at::empty({static_cast<int64_t>(count) / layout.width, layout.width}, at::kFloat);
  auto* out = reinterpret_cast<std::byte*>(rows.data_ptr<float>());
  for (const size_t i : examples) {
    const uint64_t begin = layout.begin[i], n = layout.end[i] - begin;
    std::memcpy(out, file_.bytes().data() + kHeaderBytes + begin * sizeof(float),
                n * sizeof(float));
    out += n * sizeof(float);
  }
  return rows;
}

static_assert(kMagic.size() + kKeyDigits < kHeaderBytes);

}  // namespace thimble::train
