#include "thimble/data/report.h"

#include <utility>

namespace thimble {
namespace {

struct Facts {
  std::string_view words;
  bool skipped;
};

constexpr Facts kFacts[] = {
#define PROBLEM(enumerator, words, skipped) {words, skipped},
#include "thimble/data/problems.inc"
#undef PROBLEM
};

const Facts& FactsOf(RowProblem problem) { return kFacts[static_cast<size_t>(problem)]; }

}  // namespace

std::string_view RowProblemWords(RowProblem problem) { return FactsOf(problem).words; }
bool IsSkipped(RowProblem problem) { return FactsOf(problem).skipped; }

void ReadReport::Add(RowProblem problem, int64_t line, std::string what) {
  Group* group = nullptr;
  for (Group& g : groups) {
    if (g.problem == problem) group = &g;
  }
  if (group == nullptr) group = &groups.emplace_back(Group{.problem = problem, .first = {}});
  ++group->rows;
  if (group->first.size() < kKept) group->first.push_back({line, std::move(what)});
}

size_t ReadReport::Count(RowProblem problem) const {
  for (const Group& group : groups) {
    if (group.problem == problem) return group.rows;
  }
  return 0;
}

std::vector<std::string> ReadReport::Lines(std::string_view path) const {
  std::vector<std::string> lines;
  const std::string file(path);
  for (const Group& group : groups) {
    const Place& place = group.first[0];
    std::string line = file + ": ";
    if (place.line != 0) line += "line " + std::to_string(place.line) + ": ";
    line += place.what;
    line += IsSkipped(group.problem) ? "; skipped" : "; kept";
    line += group.rows == 1
                ? " (the only such row)"
                : " (" + std::to_string(group.rows) +
                      " such rows: " + std::string(RowProblemWords(group.problem)) + ")";
    lines.push_back(std::move(line));
  }
  for (const std::string& note : notes) lines.push_back(file + ": " + note);
  return lines;
}

}  // namespace thimble
