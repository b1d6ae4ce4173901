// The wire format of Protocol Buffers, written: the little that ONNX files need. Messages nest by
// being written into a string of their own first.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace thimble {

class ProtoMessage {
 public:
  void Integer(int field, int64_t value) {
    Varint(static_cast<uint64_t>(field) << 3);
    Varint(static_cast<uint64_t>(value));
  }
  void Float(int field, float value) {
    Varint(static_cast<uint64_t>(field) << 3 | 5);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(bits >> shift);
  }
  // Strings, bytes and packed numbers alike.
  void Bytes(int field, std::string_view value) {
    bytes_ += Prefix(field, value.size());
    bytes_ += value;
  }
  void Bytes(int field, std::span<const std::byte> value) {
    Bytes(field, {reinterpret_cast<const char*>(value.data()), value.size()});
  }
  void Message(int field, const ProtoMessage& message) { Bytes(field, message.bytes_); }

  const std::string& bytes() const { return bytes_; }

  // What stands before the bytes of a string, of packed numbers or of a message.
  static std::string Prefix(int field, size_t size) {
    ProtoMessage prefix;
    prefix.Varint(static_cast<uint64_t>(field) << 3 | 2);
    prefix.Varint(size);
    return prefix.bytes_;
  }

 private:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

}  // namespace thimble
