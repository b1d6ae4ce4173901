// True and false positives, and what is made of them. 0 where a quotient has no denominator, as scikit-learn
// has it.
#pragma once

#include <cstdint>

namespace thimble {

inline double Quotient(double a, double b) { return b > 0 ? a / b : 0; }

struct Counts {
  uint64_t right = 0;      // predicted and gold
  uint64_t predicted = 0;  // all that were predicted
  uint64_t gold = 0;       // all that are there

  double precision() const {
    return Quotient(static_cast<double>(right), static_cast<double>(predicted));
  }
  double recall() const { return Quotient(static_cast<double>(right), static_cast<double>(gold)); }
  double f1() const {
    return Quotient(2.0 * static_cast<double>(right), static_cast<double>(predicted + gold));
  }
  void Add(const Counts& other) {
    right += other.right;
    predicted += other.predicted;
    gold += other.gold;
  }
};

}  // namespace thimble
