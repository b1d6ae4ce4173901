// Random numbers that are the same on every machine and by every compiler: SplitMix64 (Steele, Lea and Flood
// 2014) and what is built on it. Not for secrets.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

namespace thimble {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // A stream of its own for each pair: epoch and seed, tensor and seed, ...
  Random(uint64_t seed, uint64_t stream) : state_(seed) { state_ = Next() ^ (stream * kOdd); }

  uint64_t Next() {
    uint64_t z = (state_ += kOdd);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  // In [0, n); n > 0. Lemire's multiplication; the bias, at most n / 2^64, is of no consequence.
  uint64_t Below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<__uint128_t>(Next()) * n) >> 64);
  }
  // In [0, 1).
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  // Standard normal, by Box and Muller; one of the two values is left unused.
  double Normal() {
    const double u = 1 - Uniform(), v = Uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

  template <class T>
  void Shuffle(std::span<T> values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[Below(i)]);
  }

 private:
  static constexpr uint64_t kOdd = 0x9e3779b97f4a7c15ull;
  uint64_t state_;
};

}  // namespace thimble
