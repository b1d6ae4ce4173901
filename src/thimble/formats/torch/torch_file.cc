#include "thimble/formats/torch/torch_file.h"

#include <map>
#include <utility>

#include "thimble/base/file.h"
#include "thimble/base/quote.h"
#include "thimble/formats/torch/bytes.h"
#include "thimble/formats/torch/pickle.h"
#include "thimble/formats/torch/state_dict.h"
#include "thimble/formats/torch/zip.h"

namespace thimble {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::string_view kZipStart = "PK\x03\x04";
// 0x1950a86a20f9469cfc6c as a pickled integer.
constexpr std::string_view kLegacyMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr int64_t kLegacyProtocol = 1001;

bool NoGlobals(std::string_view) { return false; }

// "archive/" of the one member "archive/data.pkl": torch.save names the folder after the file.
Result<std::string> FindFolder(const ZipMembers& members) {
  constexpr std::string_view kPickle = "data.pkl";
  std::string folder;
  for (const auto& [name, member] : members) {
    const size_t slash = name.find('/');
    if (slash == name.npos || std::string_view(name).substr(slash + 1) != kPickle) continue;
    if (!folder.empty()) return InvalidData("has two members called data.pkl");
    folder = name.substr(0, slash + 1);
  }
  if (folder.empty())
    return InvalidData("is a zip archive, but not one of torch.save: no data.pkl");
  return folder;
}

Result<Bytes> CheckedMember(const ZipMembers& members, const std::string& name) {
  const auto found = members.find(name);
  if (found == members.end()) return InvalidData("the archive has no member " + Quoted(name));
  if (Status status = CheckCrc(found->second); !status) {
    return std::move(status).error().In("member " + Quoted(name));
  }
  return found->second.data;
}

Result<StoredTensors> ParseZip(Bytes file, const std::shared_ptr<const void>& owner) {
  TRY(const ZipMembers members, ReadZip(file));
  TRY(const std::string folder, FindFolder(members));
  if (members.contains(folder + "byteorder")) {
    TRY(const Bytes order, CheckedMember(members, folder + "byteorder"));
    if (Text(order) != "little") return Unsupported("was written by a big-endian machine");
  }
  TRY(const Bytes pickle_bytes, CheckedMember(members, folder + "data.pkl"));
  TRY(const Pickle pickle, ReadPickle(pickle_bytes, IsStateDictGlobal));
  std::map<std::string, Bytes, std::less<>> checked;  // storages may be shared
  const FindStorage find = [&](const StorageName& storage) -> Result<Bytes> {
    const std::string name = folder + "data/" + std::string(storage.key);
    auto known = checked.find(name);
    if (known == checked.end()) {
      TRY(const Bytes bytes, CheckedMember(members, name));
      known = checked.emplace(name, bytes).first;
    }
    const size_t width = StoredTypeBytes(storage.type);
    if (known->second.size() % width != 0 || known->second.size() / width != storage.elements) {
      return InvalidData("its storage has " + std::to_string(known->second.size()) +
                         " bytes, not " + std::to_string(storage.elements) + " elements of " +
                         std::to_string(width));
    }
    return known->second;
  };
  return ReadStateDict(pickle, find, file.size(), owner);
}

// A row of pickles, each right behind the one before.
class PickleRow {
 public:
  explicit PickleRow(Bytes file) : rest_(file) {}

  Result<Pickle> Next(bool (*may_use)(std::string_view)) {
    TRY(Pickle pickle, ReadPickle(rest_, may_use));
    rest_ = rest_.subspan(pickle.bytes);
    return pickle;
  }
  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

// Magic number, protocol number, a dictionary about the machine that wrote the file.
Status ReadLegacyPreamble(PickleRow& row) {
  TRY(const Pickle magic, row.Next(NoGlobals));
  if (magic.value(magic.root).text != kLegacyMagic) return InvalidData("is not a PyTorch file");
  TRY(const Pickle protocol, row.Next(NoGlobals));
  if (protocol.value(protocol.root).integer != kLegacyProtocol) {
    return Unsupported("has a version of torch.save's format that is not known");
  }
  TRY(const Pickle machine, row.Next(NoGlobals));
  const std::vector<PickleId>& items = machine.value(machine.root).items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (machine.value(items[i]).text == "little_endian" &&
        machine.value(items[i + 1]).integer == 0) {
      return Unsupported("was written by a big-endian machine");
    }
  }
  return {};
}

// Element types by storage key: the storages themselves do not say it.
Result<std::map<std::string_view, StorageName>> LegacyStorages(const Pickle& pickle) {
  std::map<std::string_view, StorageName> storages;
  for (PickleId id = 0; id < pickle.values.size(); ++id) {
    if (pickle.value(id).kind != PickleKind::kPersistent) continue;
    TRY(const StorageName storage, ParseStorageName(pickle, id));
    const auto [known, is_new] = storages.emplace(storage.key, storage);
    if (!is_new &&
        (known->second.type != storage.type || known->second.elements != storage.elements)) {
      return InvalidData("storage " + Quoted(storage.key) + " is described in two ways");
    }
  }
  return storages;
}

// The storages in the order of `keys`, each a 64-bit count and its elements.
Result<std::map<std::string_view, Bytes>> CutLegacyStorages(
    const std::map<std::string_view, StorageName>& storages, const Pickle& keys, Bytes rest) {
  std::map<std::string_view, Bytes> cut;
  for (const PickleId id : keys.value(keys.root).items) {
    const std::string_view key = keys.value(id).text;
    const auto storage = storages.find(key);
    if (storage == storages.end()) return InvalidData("storage " + Quoted(key) + " has no type");
    const size_t width = StoredTypeBytes(storage->second.type);
    if (rest.size() < sizeof(uint64_t)) return InvalidData("is truncated");
    const auto count = LittleEndian<uint64_t>(rest, 0);
    rest = rest.subspan(sizeof(uint64_t));
    if (count != storage->second.elements || count > rest.size() / width) {
      return InvalidData("storage " + Quoted(key) + " has " + std::to_string(count) +
                         " elements where " + std::to_string(storage->second.elements) +
                         " are announced and " + std::to_string(rest.size() / width) + " fit");
    }
    cut.emplace(key, rest.first(count * width));
    rest = rest.subspan(count * width);
  }
  return cut;
}

Result<StoredTensors> ParseLegacy(Bytes file, const std::shared_ptr<const void>& owner) {
  PickleRow row(file);
  TRY_VOID(ReadLegacyPreamble(row));
  TRY(const Pickle pickle, row.Next(IsStateDictGlobal));
  TRY(const Pickle keys, row.Next(NoGlobals));
  TRY(const auto storages, LegacyStorages(pickle));
  TRY(const auto cut, CutLegacyStorages(storages, keys, row.rest()));
  const FindStorage find = [&](const StorageName& storage) -> Result<Bytes> {
    const auto found = cut.find(storage.key);
    if (found == cut.end()) return InvalidData("its storage is not in the file");
    const size_t width = StoredTypeBytes(storage.type);
    const uint64_t elements = found->second.size() / width;
    if (storage.view_elements == 0) return found->second;
    if (storage.view_offset > elements || storage.view_elements > elements - storage.view_offset) {
      return InvalidData("its view leaves the storage");
    }
    return found->second.subspan(storage.view_offset * width, storage.view_elements * width);
  };
  return ReadStateDict(pickle, find, file.size(), owner);
}

}  // namespace

Result<StoredTensors> ParseTorch(Bytes file, std::shared_ptr<const void> owner) {
  const std::string_view text = Text(file);
  if (text.starts_with(kZipStart)) return ParseZip(file, owner);
  if (text.substr(0, 20).find(kLegacyMagic) != text.npos) return ParseLegacy(file, owner);
  return InvalidData("is not a PyTorch file");
}

Result<StoredTensors> OpenTorch(const std::string& path) {
  TRY(const MappedFile file, MappedFile::Open(path));
  Result<StoredTensors> tensors = ParseTorch(file.bytes(), file.owner());
  if (!tensors) return std::move(tensors).error().In(path);
  return tensors;
}

}  // namespace thimble
