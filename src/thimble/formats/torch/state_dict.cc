#include "thimble/formats/torch/state_dict.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "thimble/base/quote.h"

namespace thimble {
namespace {

constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor";
constexpr std::string_view kRebuildTensorV2 = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kStoragePrefix = "torch.";
// Size and strides are written as plain tuples today and were torch.Size objects once.
constexpr std::string_view kSize = "torch.Size";

// Copies of strided views may take this much in sum; real checkpoints have a few transposed matrices.
constexpr size_t kCopiesPerFileByte = 4;
constexpr size_t kCopiesAlwaysAllowed = size_t{1} << 20;

bool IsCallOf(const Pickle& pickle, const PickleValue& value, std::string_view global) {
  return value.kind == PickleKind::kCall && pickle.value(value.items[0]).text == global;
}

// Arguments of a call.
std::span<const PickleId> Arguments(const Pickle& pickle, const PickleValue& call) {
  return pickle.value(call.items[1]).items;
}

Result<uint64_t> Count(const PickleValue& value, std::string_view what) {
  if (value.kind != PickleKind::kInteger || !value.text.empty() || value.integer < 0) {
    return InvalidData(std::string(what) + " is not a count");
  }
  return static_cast<uint64_t>(value.integer);
}

// A tuple of dimensions or strides.
Result<std::vector<int64_t>> Counts(const Pickle& pickle, const PickleValue& value,
                                    std::string_view what) {
  const PickleValue* tuple = &value;
  if (IsCallOf(pickle, value, kSize) && Arguments(pickle, value).size() == 1) {
    tuple = &pickle.value(Arguments(pickle, value)[0]);
  }
  if (tuple->kind != PickleKind::kTuple && tuple->kind != PickleKind::kList) {
    return InvalidData(std::string(what) + " is not a tuple");
  }
  if (tuple->items.size() > kMaxStoredRank) {
    return InvalidData("more than " + std::to_string(kMaxStoredRank) + " dimensions");
  }
  std::vector<int64_t> counts;
  for (const PickleId id : tuple->items) {
    TRY(const uint64_t count, Count(pickle.value(id), what));
    counts.push_back(static_cast<int64_t>(count));
  }
  return counts;
}

// One past the last element that a view from element 0 touches; nothing if that overflows.
std::optional<uint64_t> Extent(const Shape& shape, const std::vector<int64_t>& strides) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  uint64_t last = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    const auto steps = static_cast<uint64_t>(shape[i] - 1),
               stride = static_cast<uint64_t>(strides[i]);
    if (stride != 0 && steps > (kMax - last) / stride) return std::nullopt;
    last += steps * stride;
  }
  return last + 1;
}

class Reader {
 public:
  Reader(const Pickle& pickle, const FindStorage& find_storage,
         const std::shared_ptr<const void>& owner)
      : pickle_(pickle), find_storage_(find_storage), owner_(owner) {}

  // The call that rebuilds a tensor, or null for any other value.
  const PickleValue* FindTensor(const PickleValue& value) const {
    const PickleValue* tensor = &value;
    if (IsCallOf(pickle_, value, kRebuildParameter) && !Arguments(pickle_, value).empty()) {
      tensor = &pickle_.value(Arguments(pickle_, value)[0]);
    }
    const bool is_tensor =
        IsCallOf(pickle_, *tensor, kRebuildTensorV2) || IsCallOf(pickle_, *tensor, kRebuildTensor);
    return is_tensor ? tensor : nullptr;
  }

  // (storage, offset, size, strides, ...)
  Result<StoredTensor> ReadTensor(const PickleValue& call) const {
    const std::span<const PickleId> arguments = Arguments(pickle_, call);
    if (arguments.size() < 4) return InvalidData("has too few arguments");
    TRY(const StorageName storage, ParseStorageName(pickle_, arguments[0]));
    TRY(const uint64_t offset, Count(pickle_.value(arguments[1]), "its offset"));
    TRY(Shape shape, Counts(pickle_, pickle_.value(arguments[2]), "its size"));
    TRY(std::vector<int64_t> strides, Counts(pickle_, pickle_.value(arguments[3]), "its strides"));
    if (shape.size() != strides.size()) {
      return InvalidData("has " + std::to_string(shape.size()) + " dimensions and " +
                         std::to_string(strides.size()) + " strides");
    }
    TRY(const std::span<const std::byte> bytes, find_storage_(storage));
    const size_t width = StoredTypeBytes(storage.type);
    const uint64_t elements = bytes.size() / width;
    const std::optional<size_t> count = ElementCount(shape);
    const std::optional<uint64_t> extent = Extent(shape, strides);
    if (!count || *count > std::numeric_limits<size_t>::max() / width || !extent ||
        offset > elements || *extent > elements - offset) {
      return InvalidData("of shape " + ShapeText(shape) + " and strides " + ShapeText(strides) +
                         " at element " + std::to_string(offset) + " leaves its storage of " +
                         std::to_string(elements));
    }
    return StoredTensor{.type = storage.type,
                        .shape = std::move(shape),
                        .strides = std::move(strides),
                        .data = bytes.subspan(offset * width, *extent * width),
                        .owner = owner_};
  }

 private:
  const Pickle& pickle_;
  const FindStorage& find_storage_;
  const std::shared_ptr<const void>& owner_;
};

// Key, value, key, value of the mapping at the root.
Result<std::span<const PickleId>> RootItems(const Pickle& pickle) {
  const PickleValue& root = pickle.value(pickle.root);
  if (root.kind == PickleKind::kDict) return std::span<const PickleId>(root.items);
  if (IsCallOf(pickle, root, kOrderedDict)) return std::span<const PickleId>(root.items).subspan(2);
  return InvalidData("does not hold a state dictionary: save model.state_dict()");
}

// "torch.FloatStorage" and its like.
std::optional<StoredType> TypeOfStorage(std::string_view global) {
  if (!global.starts_with(kStoragePrefix)) return std::nullopt;
  return StoredTypeFromTorchStorage(global.substr(kStoragePrefix.size()));
}

}  // namespace

bool IsStateDictGlobal(std::string_view global) {
  constexpr std::array kNames = {kOrderedDict, kRebuildTensor, kRebuildTensorV2, kRebuildParameter,
                                 kSize};
  return std::ranges::find(kNames, global) != kNames.end() || TypeOfStorage(global).has_value();
}

// ('storage', torch.FloatStorage, key, device, elements[, None or (key of the view, offset, elements)])
Result<StorageName> ParseStorageName(const Pickle& pickle, PickleId persistent) {
  const PickleValue& value = pickle.value(persistent);
  if (value.kind != PickleKind::kPersistent) return InvalidData("has no storage");
  const PickleValue& tuple = pickle.value(value.items[0]);
  if (tuple.kind != PickleKind::kTuple || tuple.items.size() < 5) {
    return InvalidData("has a storage that is not described by a tuple");
  }
  const auto item = [&](size_t i) -> const PickleValue& { return pickle.value(tuple.items[i]); };
  if (item(0).kind != PickleKind::kText || item(0).text != "storage" ||
      item(1).kind != PickleKind::kGlobal || item(2).kind != PickleKind::kText) {
    return InvalidData("has a storage that is described in an unknown way");
  }
  const std::optional<StoredType> type = TypeOfStorage(item(1).text);
  if (!type) return InvalidData("has a storage of type " + Quoted(item(1).text));
  StorageName storage{.type = *type, .key = item(2).text};
  TRY(storage.elements, Count(item(4), "the size of its storage"));
  if (tuple.items.size() > 5 && item(5).kind == PickleKind::kTuple) {
    const PickleValue& view = item(5);
    if (view.items.size() != 3) return InvalidData("has a storage view that is not a triple");
    TRY(storage.view_offset, Count(pickle.value(view.items[1]), "the offset of its storage view"));
    TRY(storage.view_elements, Count(pickle.value(view.items[2]), "the size of its storage view"));
  }
  return storage;
}

Result<StoredTensors> ReadStateDict(const Pickle& pickle, const FindStorage& find_storage,
                                    size_t file_bytes, const std::shared_ptr<const void>& owner) {
  TRY(const std::span<const PickleId> items, RootItems(pickle));
  const Reader reader(pickle, find_storage, owner);
  const size_t budget = kCopiesAlwaysAllowed + kCopiesPerFileByte * file_bytes;
  size_t copies = 0;
  StoredTensors tensors;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const PickleValue& key = pickle.value(items[i]);
    const PickleValue* call = reader.FindTensor(pickle.value(items[i + 1]));
    if (key.kind != PickleKind::kText || call == nullptr) continue;
    Result<StoredTensor> tensor = reader.ReadTensor(*call);
    if (!tensor) return std::move(tensor).error().In("tensor " + Quoted(key.text));
    const size_t bytes = BytesToLoad(*tensor);
    if (bytes > budget - copies) {
      return ResourceExhausted("tensor " + Quoted(key.text) + ": views of shape " +
                               ShapeText(tensor->shape) +
                               " take far more memory than the file; save them contiguous");
    }
    copies += bytes;
    tensors.insert_or_assign(std::string(key.text), *std::move(tensor));
  }
  if (tensors.empty()) {
    return InvalidData("holds no tensors at the top of its dictionary: save model.state_dict()");
  }
  return tensors;
}

}  // namespace thimble
