#include "thimble/text/unigram.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace thimble {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

uint32_t NextCharacter(std::string_view text, uint32_t at) {
  do ++at;
  while (at < text.size() && IsContinuation(text[at]));
  return at;
}

uint32_t PreviousCharacter(std::string_view text, uint32_t at) {
  do --at;
  while (at > 0 && IsContinuation(text[at]));
  return at;
}

}  // namespace

Result<UnigramModel> UnigramModel::Create(const TokenizerSpec& spec) {
  const size_t count = spec.pieces.size();
  if (spec.scores.size() != count) {
    return InvalidData("there are " + std::to_string(spec.scores.size()) + " scores for " +
                       std::to_string(count) + " pieces");
  }
  if (!std::all_of(spec.scores.begin(), spec.scores.end(),
                   [](double s) { return std::isfinite(s); })) {
    return InvalidData("a piece has a score that is not a number");
  }
  if (spec.reserved_ids < 0 || static_cast<size_t>(spec.reserved_ids) > count) {
    return InvalidData("there are " + std::to_string(spec.reserved_ids) + " reserved ids for " +
                       std::to_string(count) + " pieces");
  }
  if (spec.unknown_id < 0 || static_cast<size_t>(spec.unknown_id) >= count) {
    return InvalidData("the unknown id " + std::to_string(spec.unknown_id) + " is not a piece");
  }
  UnigramModel model;
  model.scores_ = spec.scores;
  model.unknown_id_ = spec.unknown_id;
  model.BuildTrie(spec.pieces, static_cast<size_t>(spec.reserved_ids));
  return model;
}

void UnigramModel::BuildTrie(const std::vector<std::string>& pieces, size_t reserved) {
  std::vector<uint32_t> order(pieces.size() - reserved);
  std::iota(order.begin(), order.end(), static_cast<uint32_t>(reserved));
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return pieces[a] < pieces[b]; });

  // Breadth first: a node is a range of the sorted pieces that share `depth` bytes.
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges{{0, order.size(), 0}};
  labels_.push_back('\0');
  for (size_t node = 0; node < ranges.size(); ++node) {
    Range range = ranges[node];
    children_.push_back(static_cast<uint32_t>(ranges.size()));
    pieces_.push_back(kNoPiece);
    // Pieces that end here come first. The empty one matches nothing.
    for (; range.begin < range.end && pieces[order[range.begin]].size() == range.depth;
         ++range.begin) {
      if (range.depth > 0) pieces_.back() = static_cast<int32_t>(order[range.begin]);
    }
    while (range.begin < range.end) {
      const char label = pieces[order[range.begin]][range.depth];
      size_t end = range.begin + 1;
      while (end < range.end && pieces[order[end]][range.depth] == label) ++end;
      ranges.push_back({range.begin, end, range.depth + 1});
      labels_.push_back(label);
      range.begin = end;
    }
  }
  children_.push_back(static_cast<uint32_t>(ranges.size()));
}

// Calls visit(piece id, bytes) for every piece that `text` begins with, short ones first; false if
// there is none.
template <class Visit>
bool UnigramModel::ForEachPrefix(std::string_view text, Visit visit) const {
  bool any = false;
  uint32_t node = 0;
  for (uint32_t length = 0; length < text.size();) {
    const char* first = labels_.data() + children_[node];
    const void* found = std::memchr(first, text[length], children_[node + 1] - children_[node]);
    if (found == nullptr) break;
    node = children_[node] + static_cast<uint32_t>(static_cast<const char*>(found) - first);
    ++length;
    if (pieces_[node] == kNoPiece) continue;
    visit(pieces_[node], length);
    any = true;
  }
  return any;
}

std::vector<UnigramModel::Piece> UnigramModel::Segment(std::string_view text) const {
  const auto size = static_cast<uint32_t>(text.size());
  // The best way to reach every place: its sum, and the last piece on it.
  struct Step {
    double sum = 0;
    int32_t id;
    uint32_t begin = 0;
    bool reached = false;
  };
  std::vector<Step> steps(size + 1, Step{.id = unknown_id_});
  const auto offer = [&](uint32_t begin, uint32_t end, int32_t id, double score) {
    const double sum = score + steps[begin].sum;
    Step& step = steps[end];
    if (step.sum == 0 || sum >= step.sum) step = {sum, id, begin, true};
  };
  for (uint32_t begin = 0; begin < size;) {
    const uint32_t next = NextCharacter(text, begin);
    const bool any = ForEachPrefix(text.substr(begin), [&](int32_t id, uint32_t length) {
      offer(begin, begin + length, id, scores_[static_cast<size_t>(id)]);
    });
    if (!any) offer(begin, next, unknown_id_, 0.0);
    begin = next;
  }

  std::vector<Piece> pieces;
  for (uint32_t end = size; end > 0;) {
    const Step& step = steps[end];
    const uint32_t begin = step.reached ? step.begin : PreviousCharacter(text, end);
    if (!pieces.empty() && step.id == unknown_id_ && pieces.back().id == unknown_id_) {
      pieces.back().begin = begin;
    } else {
      pieces.push_back({step.id, begin, end});
    }
    end = begin;
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

}  // namespace thimble
