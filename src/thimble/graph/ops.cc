#include "thimble/graph/ops.h"

#include "thimble/graph/ops/table.h"

namespace thimble {
namespace {

template <class T, size_t I = 0>
constexpr size_t AttributeIndex() {
  if constexpr (std::is_same_v<T, std::variant_alternative_t<I, Attributes>>) {
    return I;
  } else {
    return AttributeIndex<T, I + 1>();
  }
}

constexpr OpInfo kOps[] = {
#define OP(enumerator, name, file, Function, Attrs)             \
  {OpKind::enumerator, name,           AttributeIndex<Attrs>(), \
   Infer##Function,    Cost##Function, Reference##Function},
#include "thimble/graph/ops.inc"
#undef OP
};

}  // namespace

const OpInfo& GetOp(OpKind kind) { return kOps[static_cast<size_t>(kind)]; }

const OpInfo* FindOp(std::string_view name) {
  for (const OpInfo& op : kOps) {
    if (op.name == name) return &op;
  }
  return nullptr;
}

}  // namespace thimble
