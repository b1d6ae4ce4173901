#include "thimble/formats/onnx/protobuf_reader.h"

#include <cstring>
#include <string>

namespace thimble {
namespace {

constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

Error CutOff() { return InvalidData("is cut off or no ONNX file"); }

uint64_t LittleEndian(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

template <class T>
Status AppendFixed(std::span<const std::byte> bytes, std::vector<T>& to) {
  if (bytes.size() % sizeof(T) != 0) return InvalidData("has packed numbers that are cut off");
  const size_t before = to.size();
  to.resize(before + bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(to.data() + before, bytes.data(), bytes.size());
  return {};
}

}  // namespace

Result<uint64_t> ProtoReader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return CutOff();
    const auto byte = static_cast<uint64_t>(rest_[0]);
    rest_ = rest_.subspan(1);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return InvalidData("has a number of more than 64 bits: it is no ONNX file");
}

Result<std::span<const std::byte>> ProtoReader::Take(uint64_t size) {
  if (size > rest_.size()) return CutOff();
  const auto taken = rest_.first(static_cast<size_t>(size));
  rest_ = rest_.subspan(static_cast<size_t>(size));
  return taken;
}

Result<bool> ProtoReader::Next() {
  if (rest_.empty()) return false;
  TRY(const uint64_t key, Varint());
  if (key >> 3 == 0 || key >> 3 > (1 << 29)) {
    return InvalidData("has a field without a number: it is no ONNX file");
  }
  field_ = static_cast<int>(key >> 3);
  wire_ = static_cast<int>(key & 7);
  number_ = 0;
  bytes_ = {};
  switch (wire_) {
    case kVarint: {
      TRY(number_, Varint());
      return true;
    }
    case kFixed64:
    case kFixed32: {
      TRY(const auto fixed, Take(wire_ == kFixed64 ? 8 : 4));
      number_ = LittleEndian(fixed);
      return true;
    }
    case kBytes: {
      TRY(const uint64_t size, Varint());
      TRY(bytes_, Take(size));
      return true;
    }
    default:
      return InvalidData("has a field of an unknown wire type: it is no ONNX file");
  }
}

Status ProtoReader::AppendIntegers(std::vector<int64_t>& to) const {
  if (wire_ == kVarint) {
    to.push_back(Integer());
    return {};
  }
  ProtoReader packed(bytes_);
  while (!packed.rest_.empty()) {
    TRY(const uint64_t value, packed.Varint());
    to.push_back(static_cast<int64_t>(value));
  }
  return {};
}

Status ProtoReader::AppendFloats(std::vector<float>& to) const {
  if (wire_ != kFixed32) return AppendFixed(bytes_, to);
  to.push_back(Float());
  return {};
}

Status ProtoReader::AppendDoubles(std::vector<double>& to) const {
  if (wire_ != kFixed64) return AppendFixed(bytes_, to);
  to.push_back(Double());
  return {};
}

}  // namespace thimble
