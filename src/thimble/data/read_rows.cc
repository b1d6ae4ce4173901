// From a file's name to the reader of its format.
#include <nlohmann/json.hpp>
#include <string>

#include "thimble/data/columns.h"
#include "thimble/data/readers.h"
#include "thimble/data/rows.h"

namespace thimble {
namespace {

constexpr size_t kMaxDocumentBytes = size_t{1} << 30;  // of JSON, which is read as a whole

struct FormatName {
  std::string_view name;  // as an option
  DatasetFormat format;
};
constexpr FormatName kNames[] = {{"tsv", DatasetFormat::kTsv},
                                 {"csv", DatasetFormat::kCsv},
                                 {"jsonl", DatasetFormat::kJsonl},
                                 {"squad", DatasetFormat::kSquad},
                                 {"conll", DatasetFormat::kConll}};
constexpr FormatName kEndings[] = {
    {".tsv", DatasetFormat::kTsv},     {".csv", DatasetFormat::kCsv},
    {".jsonl", DatasetFormat::kJsonl}, {".ndjson", DatasetFormat::kJsonl},
    {".json", DatasetFormat::kSquad},  {".conll", DatasetFormat::kConll},
    {".bio", DatasetFormat::kConll},   {".iob", DatasetFormat::kConll},
    {".iob2", DatasetFormat::kConll},  {".bioes", DatasetFormat::kConll}};

// Some publishers call JSON lines .json: then the first line is an object, and more follows.
bool IsJsonLines(std::string_view text) {
  const size_t newline = text.find('\n');
  if (newline == std::string_view::npos) return false;
  const std::string_view line = text.substr(0, newline), rest = text.substr(newline);
  return line.starts_with('{') && rest.find_first_not_of(" \t\r\n") != std::string_view::npos &&
         nlohmann::json::accept(line);
}

Status ReadDocument(ByteSource source, RowSink& sink) {
  std::string text;
  for (;;) {
    TRY(const bool more, source.Read(text));
    if (!more) break;
    if (text.size() > kMaxDocumentBytes) {
      return ResourceExhausted(
          "is larger than 1 GiB, too much for one JSON document; use JSON lines");
    }
  }
  std::string_view rest = text;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  if (!IsJsonLines(rest)) return ReadJson(rest, sink);
  LineStream lines(ByteSource::FromBytes(rest, source.name()));
  return ReadJsonl(lines, sink);
}

Status Read(ByteSource source, DatasetFormat format, RowSink& sink) {
  if (format == DatasetFormat::kSquad) return ReadDocument(std::move(source), sink);
  LineStream lines(std::move(source));
  switch (format) {
    case DatasetFormat::kCsv:
      return ReadCsv(lines, sink);
    case DatasetFormat::kJsonl:
      return ReadJsonl(lines, sink);
    case DatasetFormat::kConll:
      return ReadConll(lines, sink);
    default:
      return ReadTsv(lines, sink);
  }
}

Status InFile(Status status, const std::string& name) {
  if (!status.has_value()) return std::move(status).error().In(name);
  return {};
}

}  // namespace

std::optional<DatasetFormat> DatasetFormatFromName(std::string_view name) {
  for (const FormatName& known : kNames) {
    if (known.name == name) return known.format;
  }
  return std::nullopt;
}

std::optional<DatasetFormat> FormatOfName(std::string_view path) {
  std::string name = AsciiLower(path);
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  for (const FormatName& known : kEndings) {
    if (name.ends_with(known.name)) return known.format;
  }
  return std::nullopt;
}

Status ReadRows(const std::string& path, RowSink& sink) {
  DatasetFormat format = sink.options().format;
  if (format == DatasetFormat::kGuess) {
    const auto told = FormatOfName(path);
    const bool words = sink.options().task == Task::kTokenLabels;
    if (!told && !words) {
      return Unsupported(
          path +
          ": the name tells no format; it should end in .tsv, .csv, .jsonl, .json or "
          ".conll (and .gz), or the format be given");
    }
    format = told.value_or(DatasetFormat::kConll);
  }
  TRY(ByteSource source, ByteSource::Open(path));
  return InFile(Read(std::move(source), format, sink), path);
}

Status ReadRowsFromBytes(std::string_view bytes, const std::string& name, RowSink& sink) {
  const DatasetFormat format = sink.options().format;
  if (format == DatasetFormat::kGuess) return InvalidArgument(name + ": the format is not given");
  return InFile(Read(ByteSource::FromBytes(bytes, name), format, sink), name);
}

}  // namespace thimble
