// TensorFlow.js graph models as published: model.json (topology and the list of weights) beside the
// files that hold the weights' bytes.
//
// Layout: "weightsManifest" is a list of groups. The files of a group ("paths"), laid end to end,
// are its weights in order, without gaps, little-endian; a tensor may cross from one file into the
// next. A weight may be quantized: stored as uint8 or uint16 with value = scale * stored + min, or
// as float16.
//
// Everything comes from outside: what does not fit together is an error that names the place,
// memory is only taken for bytes that the files really have, and file names cannot leave the
// folder. Non-goals: layers models ("format": "layers-model"), weights of type string or complex64,
// running the topology: it serves to recognise an architecture.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/models/architecture.h"

namespace thimble {

// A node of the topology.
struct TfjsNode {
  std::string op;  // "Conv2D"
  std::string name;
  std::vector<std::string> inputs;
};

// Immutable after Open; keeps the files mapped.
class TfjsModel final : public WeightSource {
 public:
  struct File {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> owner;
  };
  using FileOpener = std::function<Result<File>(const std::string& name)>;

  // Reads `directory`/model.json and maps the files that it names.
  static Result<TfjsModel> Open(const std::string& directory);
  // The same from the text of a model.json and a way to get the files beside it.
  static Result<TfjsModel> Parse(std::string_view json, const FileOpener& open);

  const std::vector<TfjsNode>& nodes() const { return nodes_; }
  const TfjsNode* FindNode(std::string_view name) const;  // null if there is none
  // How many nodes of the topology are of kind `op`.
  size_t CountOps(std::string_view op) const;

  Result<Shape> ShapeOf(std::string_view name) const;
  bool Has(std::string_view name) const override { return weights_.find(name) != weights_.end(); }
  // Of all files of weights, in their order.
  std::string FilesSha256() const;
  // kF32, kF16, kI32 or kU8 (for bool), row-major, dequantized.
  Result<Tensor> Get(std::string_view name, const Shape& shape) override;

 private:
  // How the bytes of a weight become numbers.
  enum class Coding : uint8_t { kPlain, kLinear8, kLinear16 };
  struct Entry {
    DType dtype = DType::kF32;  // after decoding
    Coding coding = Coding::kPlain;
    double scale = 1, min = 0;
    Shape shape;
    size_t elements = 0;
    size_t group = 0;
    size_t begin = 0, bytes = 0;  // in the group's files laid end to end
  };

  class Parser;
  std::vector<std::byte> Read(const Entry& entry) const;

  std::vector<TfjsNode> nodes_;
  std::vector<std::vector<File>> groups_;
  std::map<std::string, Entry, std::less<>> weights_;
};

}  // namespace thimble
