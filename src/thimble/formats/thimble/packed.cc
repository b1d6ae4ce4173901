#include "thimble/formats/thimble/packed.h"

#include <memory>
#include <span>
#include <string>

#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"

namespace thimble {

Result<Model> Packed(const Model& model) {
  TRY(const std::string file, SerializeThimble(model));
  const Tensor bytes =
      Tensor::Copy(DType::kU8, {static_cast<int64_t>(file.size())}, std::as_bytes(std::span(file)));
  return ParseThimble(bytes.data(), std::make_shared<Tensor>(bytes));
}

}  // namespace thimble
