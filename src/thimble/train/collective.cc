#include "thimble/train/collective.h"

#include <string>
#include <vector>

#include "thimble/base/sha256.h"

namespace thimble::train {
namespace {

class OneProcess : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Status Sum(at::Tensor&) override { return {}; }
  Status Sum(std::span<double>) override { return {}; }
  Status Broadcast(std::span<std::byte>) override { return {}; }
  Status Barrier() override { return {}; }
};

}  // namespace

std::unique_ptr<Collective> SingleProcess() { return std::make_unique<OneProcess>(); }

Result<std::optional<int>> FirstToDiffer(Collective& collective, std::span<const std::byte> bytes) {
  if (collective.size() == 1) return std::optional<int>();
  Sha256 hash;
  hash.Update(bytes);
  const std::string mine = std::move(hash).HexDigest();
  std::string first = mine;
  TRY_VOID(collective.Broadcast(std::as_writable_bytes(std::span(first))));
  std::vector<double> differs(static_cast<size_t>(collective.size()), 0.0);
  differs[static_cast<size_t>(collective.rank())] = mine == first ? 0 : 1;
  TRY_VOID(collective.Sum(std::span(differs)));
  for (size_t rank = 0; rank < differs.size(); ++rank) {
    if (differs[rank] != 0) return std::optional<int>(static_cast<int>(rank));
  }
  return std::optional<int>();
}

}  // namespace thimble::train
