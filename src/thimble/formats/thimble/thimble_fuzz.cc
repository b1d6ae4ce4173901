// Any bytes as a .thimble file or as an adapter of one: a model that can be used and written again, or an
// error.
//
// The first byte of the input chooses: even, the rest is a file; odd, the rest is a list of edits
// (place, value) of a valid file. Its second bit says whether that is an adapter, the third whether it has block-sparse
// weights instead. The metadata's checksum is put right afterwards, or nothing behind it would ever be reached.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "thimble/formats/thimble/crc32c.h"
#include "thimble/formats/thimble/example_model.h"
#include "thimble/formats/thimble/file_layout.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"

namespace thimble {
namespace {

std::string Edited(std::string file, std::string_view edits) {
  constexpr size_t kEdit = 3;
  for (; edits.size() >= kEdit; edits.remove_prefix(kEdit)) {
    const size_t place =
        static_cast<uint8_t>(edits[0]) * size_t{256} + static_cast<uint8_t>(edits[1]);
    file[place % file.size()] = edits[2];
  }
  return file;
}

void Reseal(std::string& file) {
  uint32_t size = 0;
  if (file.size() < sizeof(size)) return;
  std::memcpy(&size, file.data(), sizeof(size));
  const size_t end = size_t{size} + sizeof(size);
  if (end + sizeof(uint32_t) > file.size()) return;
  const uint32_t checksum = Crc32c(std::as_bytes(std::span(file).first(end)));
  std::memcpy(file.data() + end, &checksum, sizeof(checksum));
}

// A model that was accepted can be read everywhere, and what is written from it is accepted too.
void Use(const Model& model) {
  const Result<std::string> file = SerializeThimble(model);
  THIMBLE_CHECK(file.has_value());
  const Tensor aligned = Tensor::Copy(DType::kU8, {static_cast<int64_t>(file->size())},
                                      std::as_bytes(std::span(*file)));
  const Result<Model> again = ParseThimble(aligned.data(), nullptr, {.verify_data = true});
  THIMBLE_CHECK(again.has_value());
  THIMBLE_CHECK(*SerializeThimble(*again) == *file);
  constexpr size_t kQuickElements = 1 << 16;
  for (const Node& node : model.graph.nodes) {
    for (const Weight& weight : node.weights) {
      const Tensor& tensor = weight.tensor;
      if (tensor.layout() != Layout::kBlockSparse || tensor.elements() > kQuickElements) continue;
      THIMBLE_CHECK(tensor.ToFloats().size() == tensor.elements());
    }
  }
}

Model ReadBack(const std::string& file) {
  const Tensor bytes =
      Tensor::Copy(DType::kU8, {static_cast<int64_t>(file.size())}, std::as_bytes(std::span(file)));
  return *ParseThimble(bytes.data(), std::make_shared<Tensor>(bytes));
}

// The example with another label and other biases.
std::string ExampleAdapter(const Model& base) {
  Model model = base;
  model.labels[0] = "another";
  for (Node& node : model.graph.nodes) {
    if (node.op != OpKind::kLinear || node.weights.size() < 2) continue;
    Tensor& bias = node.weights[1].tensor;
    bias = Tensor::FromFloats(bias.shape(), std::vector<float>(bias.elements(), 1.0f));
  }
  return *SerializeAdapter(model, base);
}

void Run(std::string_view input) {
  static const std::string kValid = *SerializeThimble(ExampleModel(DType::kI8));
  static const std::string kSparse = *SerializeThimble(BlockSparseExample());
  static const Model kBase = ReadBack(kValid);
  static const std::string kAdapter = ExampleAdapter(kBase);
  if (input.empty()) return;
  const bool edits = (input[0] & 1) != 0, adapter = (input[0] & 2) != 0;
  const std::string& valid = adapter ? kAdapter : (input[0] & 4) != 0 ? kSparse : kValid;
  input.remove_prefix(1);
  std::string file = edits ? Edited(valid, input) : std::string(input);
  Reseal(file);
  const Tensor aligned =
      Tensor::Copy(DType::kU8, {static_cast<int64_t>(file.size())}, std::as_bytes(std::span(file)));
  const Result<Model> model = adapter ? ParseAdapter(aligned.data(), nullptr, kBase)
                                      : ParseThimble(aligned.data(), nullptr);
  if (model.has_value()) Use(*model);
}

}  // namespace
}  // namespace thimble

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  thimble::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
