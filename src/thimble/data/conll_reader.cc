// CoNLL's two columns (or more): words with their tags, sentence by sentence.
#include <string>
#include <utility>

#include "thimble/data/readers.h"

namespace thimble {
namespace {

constexpr std::string_view kBlanks = " \t";

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// "# sent_id = 7" before a sentence; "# O" is a word and its tag.
bool IsComment(std::string_view line) {
  return line.starts_with("# ") && line.find(" = ") != std::string_view::npos;
}

// A sentence that is being read; a bad line in it costs the whole sentence.
struct Sentence {
  Row row;
  int64_t bad_line = 0;

  bool empty() const { return row.words.empty() && bad_line == 0; }

  void Add(std::string_view line, int64_t number) {
    if (empty()) row.line = number;
    const size_t word_end = line.find_first_of(kBlanks);
    if (word_end == std::string_view::npos) {
      if (bad_line == 0) bad_line = number;
      return;
    }
    row.words.emplace_back(line.substr(0, word_end));
    row.labels.emplace_back(line.substr(line.find_last_of(kBlanks) + 1));
  }

  Status Finish(RowSink& sink) {
    if (empty()) return {};
    Sentence done = std::exchange(*this, {});
    if (done.bad_line != 0) {
      return sink.Refuse(RowProblem::kColumns, done.bad_line,
                         "1 column, a word and its tag are needed; the sentence was left out");
    }
    for (const std::string& word : done.row.words) {
      done.row.text += (done.row.text.empty() ? "" : " ") + word;
    }
    done.row.has_label = done.row.is_list = true;
    return sink.Take(std::move(done.row));
  }
};

}  // namespace

Status ReadConll(LineStream& lines, RowSink& sink) {
  sink.kind = RowKind::kTokens;
  Sentence sentence;
  std::string_view line;
  while (!sink.full()) {
    TRY(const bool more, lines.Next(line));
    if (!more) break;
    line = Trim(line);
    if (line.empty() || line.starts_with("-DOCSTART-")) {
      TRY_VOID(sentence.Finish(sink));
    } else if (!IsComment(line) || !sentence.empty()) {
      sentence.Add(line, lines.line_number());
    }
  }
  if (sink.full()) return {};
  return sentence.Finish(sink);
}

}  // namespace thimble
