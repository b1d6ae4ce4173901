// What reading a data set found: rows used, rows left out and why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace thimble {

// PROBLEM(enumerator, words, skipped): the rows of problems.inc; `skipped` says what the lenient mode
// does with such a row: leaves it out, or keeps it and counts.
enum class RowProblem : uint8_t {
#define PROBLEM(enumerator, words, skipped) enumerator,
#include "thimble/data/problems.inc"
#undef PROBLEM
};

std::string_view RowProblemWords(RowProblem problem);
bool IsSkipped(RowProblem problem);

struct ReadReport {
  static constexpr size_t kKept = 3;  // places remembered per problem

  struct Place {
    int64_t line = 0;  // 0: the format has no lines, `what` names the place
    std::string what;
  };
  struct Group {
    RowProblem problem;
    size_t rows = 0;
    std::vector<Place> first;  // at most kKept
  };

  size_t rows = 0;  // of the file, header not counted
  size_t used = 0;  // that became examples
  std::vector<Group> groups;
  // About the file as a whole: "labels.txt names 3 labels that no row has".
  std::vector<std::string> notes;

  void Add(RowProblem problem, int64_t line, std::string what);
  size_t Count(RowProblem problem) const;
  size_t skipped() const { return rows - used; }
  // For people, one line for each kind of problem, then the notes; empty when there is nothing to say:
  //   train.tsv: line 17: 3 columns, the header has 2; skipped (4 such rows)
  std::vector<std::string> Lines(std::string_view path) const;
};

}  // namespace thimble
