// The wire format of Protocol Buffers, read: the fields of one message, one after the other. Nothing is copied; what
// is read stays inside the bytes that were given.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"

namespace thimble {

class ProtoReader {
 public:
  explicit ProtoReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  explicit ProtoReader(std::string_view bytes) : ProtoReader(std::as_bytes(std::span(bytes))) {}

  // Moves to the next field: false at the end of the message. Fields that are not asked for are passed over.
  Result<bool> Next();

  int field() const { return field_; }
  // The field's value; 0 or empty where the wire holds another kind.
  int64_t Integer() const { return static_cast<int64_t>(number_); }
  float Float() const { return std::bit_cast<float>(static_cast<uint32_t>(number_)); }
  double Double() const { return std::bit_cast<double>(number_); }
  std::span<const std::byte> Bytes() const { return bytes_; }
  std::string_view Text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

  // Repeated numbers, packed or not: appends what this field holds.
  Status AppendIntegers(std::vector<int64_t>& to) const;
  Status AppendFloats(std::vector<float>& to) const;
  Status AppendDoubles(std::vector<double>& to) const;

 private:
  Result<uint64_t> Varint();
  Result<std::span<const std::byte>> Take(uint64_t size);

  std::span<const std::byte> rest_, bytes_;
  int field_ = 0, wire_ = 0;
  uint64_t number_ = 0;
};

}  // namespace thimble
