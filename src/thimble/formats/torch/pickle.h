// Python pickles read as data. Nothing is imported, constructed or called: what a pickle would call is
// noted down, and only names on the caller's list may be called at all.
//
// Reads the opcodes of protocols 2 to 5 that containers, numbers and texts are written with; a pickle
// with any other is refused. Instance creation, extension codes and out-of-band buffers are left out on
// purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"

namespace thimble {

// Index into Pickle::values. Values may refer to each other in circles.
using PickleId = uint32_t;

enum class PickleKind : uint8_t {
  kNone,
  kBool,        // integer: 0 or 1
  kInteger,     // integer; beyond 64 bits text holds the two's complement, little-endian
  kReal,        // real
  kText,        // text
  kBytes,       // text
  kTuple,       // items
  kList,        // items
  kSet,         // items
  kDict,        // items: key, value, key, value, ...
  kGlobal,      // text "module.name"
  kPersistent,  // items: the one value that names the thing stored elsewhere
  kCall,        // items: the global, its arguments (kTuple), then key, value, ... set on the result
};

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string_view text = {};  // into the pickle, or into Pickle::names
  std::vector<PickleId> items = {};
};

struct Pickle {
  std::vector<PickleValue> values;
  PickleId root = 0;
  size_t bytes = 0;  // that it took; more may follow in the same file
  // Full names of globals; in a pickle they are in two pieces. A deque, for its elements stay in place.
  std::deque<std::string> names;

  const PickleValue& value(PickleId id) const { return values[id]; }
};

// `may_use("torch._utils._rebuild_tensor_v2")` says which globals a pickle may name.
Result<Pickle> ReadPickle(std::span<const std::byte> bytes,
                          bool (*may_use)(std::string_view global));

}  // namespace thimble
