#include "thimble/formats/thimble/reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "thimble/base/sha256.h"
#include "thimble/formats/thimble/attributes.h"
#include "thimble/formats/thimble/crc32c.h"
#include "thimble/formats/thimble/file_layout.h"
#include "thimble/formats/thimble/thimble_generated.h"
#include "thimble/graph/block_sparse.h"
#include "thimble/graph/ops.h"

namespace thimble {
namespace {

std::string Quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

std::string_view View(const flatbuffers::String* text) { return {text->c_str(), text->size()}; }

Error NeedsNewer(const std::string& what) {
  return Unsupported(what + " is not known to this version of thimble; the file needs a newer one");
}

// The parts of a file, and its metadata after the FlatBuffers verifier.
struct Sections {
  const fbs::Metadata* metadata = nullptr;
  size_t metadata_bytes = 0;
  uint32_t metadata_checksum = 0;
  std::span<const std::byte> data;
};

Result<size_t> MetadataBytes(std::span<const std::byte> file) {
  constexpr size_t kPrefix = sizeof(flatbuffers::uoffset_t);
  if (file.size() < kPrefix + 2 * sizeof(flatbuffers::uoffset_t) ||
      std::memcmp(file.data() + 2 * kPrefix, fbs::MetadataIdentifier(), kPrefix) != 0) {
    return InvalidData("is not a .thimble file");
  }
  const uint64_t bytes =
      uint64_t{kPrefix} + flatbuffers::ReadScalar<flatbuffers::uoffset_t>(file.data());
  if (bytes > file.size() || file.size() - bytes < sizeof(uint32_t)) {
    return InvalidData("is truncated: its metadata has " + std::to_string(bytes) +
                       " bytes, the file " + std::to_string(file.size()));
  }
  return static_cast<size_t>(bytes);
}

Result<Sections> Split(std::span<const std::byte> file) {
  TRY(const size_t metadata_bytes, MetadataBytes(file));
  const auto* begin = reinterpret_cast<const uint8_t*>(file.data());
  // Every table of an honest file has its own eight bytes or more.
  flatbuffers::Verifier verifier(begin, metadata_bytes, /*max_depth=*/16,
                                 static_cast<flatbuffers::uoffset_t>(metadata_bytes / 8));
  if (!verifier.VerifySizePrefixedBuffer<fbs::Version>(fbs::MetadataIdentifier())) {
    return InvalidData("is damaged: its version cannot be read");
  }
  const uint16_t major = flatbuffers::GetSizePrefixedRoot<fbs::Version>(begin)->major();
  if (major != kThimbleMajor) {
    return Unsupported("has format version " + std::to_string(major) + ", this program reads " +
                       std::to_string(kThimbleMajor) +
                       (major > kThimbleMajor ? ": use a newer thimble" : ": import it again"));
  }
  const auto checksum = flatbuffers::ReadScalar<uint32_t>(begin + metadata_bytes);
  if (checksum != Crc32c(file.first(metadata_bytes))) {
    return InvalidData("is damaged: the checksum of its metadata does not match");
  }
  if (!verifier.VerifySizePrefixedBuffer<fbs::Metadata>(fbs::MetadataIdentifier())) {
    return InvalidData("is damaged: its metadata is not well formed");
  }
  Sections sections;
  sections.metadata = fbs::GetSizePrefixedMetadata(begin);
  sections.metadata_bytes = metadata_bytes;
  sections.metadata_checksum = checksum;
  const size_t data_begin = DataBegin(metadata_bytes);
  if (data_begin > file.size() || file.size() - data_begin != sections.metadata->data_bytes()) {
    return InvalidData("is truncated or has bytes appended: it has " + std::to_string(file.size()) +
                       " bytes, its metadata says " + std::to_string(data_begin) + " + " +
                       std::to_string(sections.metadata->data_bytes()));
  }
  sections.data = file.subspan(data_begin);
  return sections;
}

// The FlatBuffers verifier looks at the alignment of fields, not of the elements of vectors.
template <class T>
bool IsAligned(const flatbuffers::Vector<T>& values) {
  return values.size() == 0 || reinterpret_cast<uintptr_t>(values.Data()) % sizeof(T) == 0;
}

// A file may refer to the same bytes many times over and so ask for much more memory than it has
// bytes. Ours store everything once, so what is copied out is at most what is there.
class Budget {
 public:
  explicit Budget(size_t bytes) : left_(bytes) {}
  Status Spend(size_t bytes) {
    if (bytes > left_)
      return InvalidData("is damaged: its metadata uses the same bytes many times");
    left_ -= bytes;
    return {};
  }
  Result<std::string> Copy(const flatbuffers::String* text) {
    TRY_VOID(Spend(text->size()));
    return std::string(View(text));
  }
  template <class To, class From>
  Result<std::vector<To>> Copy(const flatbuffers::Vector<From>* values) {
    if (!IsAligned(*values)) return InvalidData("is damaged: a list in its metadata is misaligned");
    TRY_VOID(Spend(values->size() * sizeof(From)));
    std::vector<To> copy;
    copy.reserve(values->size());
    for (const From value : *values) copy.push_back(static_cast<To>(value));
    return copy;
  }

 private:
  size_t left_;
};

Result<std::vector<std::string>> CopyStrings(
    const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* strings, Budget& budget) {
  std::vector<std::string> copy;
  copy.reserve(strings->size());
  for (const flatbuffers::String* text : *strings) {
    TRY(copy.emplace_back(), budget.Copy(text));
  }
  return copy;
}

// --- Tensors

bool InData(uint64_t offset, uint64_t bytes, uint64_t limit) {
  return offset % kDataAlignment == 0 && offset <= limit && bytes <= limit - offset;
}

class TensorReader {
 public:
  // `base` null: the file has none.
  TensorReader(std::span<const std::byte> data, const std::shared_ptr<const void>& owner,
               const Model* base)
      : data_(data),
        limit_(data.size() < kPanelGuardBytes ? 0 : data.size() - kPanelGuardBytes),
        owner_(owner),
        base_(base) {}

  Result<Tensor> Read(const fbs::Tensor& entry) const {
    if (base_ != nullptr && View(entry.dtype()) == kBaseDType) return OfBase(entry);
    const std::optional<DType> dtype = DTypeFromName(View(entry.dtype()));
    if (!dtype) return NeedsNewer("its type " + Quoted(View(entry.dtype())));
    if (entry.layout() > fbs::Layout::MAX) return NeedsNewer("its layout");
    if (!IsAligned(*entry.shape()) || entry.shape()->size() > kMaxTensorRank) {
      return InvalidData("its shape cannot be read");
    }
    const auto layout = static_cast<Layout>(entry.layout());
    const Shape shape(entry.shape()->begin(), entry.shape()->end());
    if (layout == Layout::kBlockSparse) return ReadBlockSparse(*dtype, shape, entry);
    const std::optional<size_t> bytes = StorageBytes(*dtype, shape, layout);
    if (!bytes || *bytes != entry.bytes()) {
      return InvalidData("its size does not fit its shape " + ShapeText(shape));
    }
    if (!InData(entry.offset(), *bytes, limit_)) return InvalidData("it lies outside the file");
    Tensor tensor = Tensor::View(*dtype, shape, Bytes(entry.offset(), *bytes), owner_, layout);
    if (!IsQuantized(*dtype)) return tensor;
    return ReadScales(tensor, entry);
  }

 private:
  // What is InData().
  std::span<const std::byte> Bytes(uint64_t offset, uint64_t bytes) const {
    return data_.subspan(static_cast<size_t>(offset), static_cast<size_t>(bytes));
  }

  Result<Tensor> OfBase(const fbs::Tensor& entry) const {
    const std::vector<Node>& nodes = base_->graph.nodes;
    if (entry.base_node() >= nodes.size() ||
        entry.base_weight() >= nodes[entry.base_node()].weights.size()) {
      return InvalidData("its base has no such weight");
    }
    return nodes[entry.base_node()].weights[entry.base_weight()].tensor;
  }

  Result<Tensor> ReadBlockSparse(DType dtype, const Shape& shape, const fbs::Tensor& entry) const {
    if (dtype != DType::kF32 || shape.size() != 2 || !std::in_range<size_t>(shape[0]) ||
        !std::in_range<size_t>(shape[1])) {
      return InvalidData("a block-sparse tensor must be an f32 matrix");
    }
    if (!InData(entry.offset(), entry.bytes(), limit_)) {
      return InvalidData("it lies outside the file");
    }
    const std::span<const std::byte> bytes = Bytes(entry.offset(), entry.bytes());
    const Status checked =
        CheckBlockSparse(static_cast<size_t>(shape[0]), static_cast<size_t>(shape[1]), bytes);
    if (!checked) return Error(checked.error()).In("block-sparse");
    return Tensor::View(dtype, shape, bytes, owner_, Layout::kBlockSparse);
  }

  Result<Tensor> ReadScales(const Tensor& tensor, const fbs::Tensor& entry) const {
    const size_t group = entry.scale_group();
    if (tensor.rank() != 2) return InvalidData("an i8 tensor must have two dimensions");
    const bool known =
        std::find(kScaleGroups.begin(), kScaleGroups.end(), group) != kScaleGroups.end();
    if (HasGroupScales(tensor.dtype()) ? !known : group != 0) {
      return InvalidData("it has a scale for each " + std::to_string(group) +
                         " inputs, which is no size of a group");
    }
    // An empty row is no storage, so the number of rows is bounded by nothing yet.
    const std::optional<size_t> count =
        ScaleCount(tensor.dtype(), tensor.shape(), tensor.layout(), group);
    if (!count || *count > limit_ ||
        !InData(entry.scales_offset(), uint64_t{*count} * sizeof(float), limit_)) {
      return InvalidData("its scales lie outside the file");
    }
    const auto* scales = reinterpret_cast<const float*>(data_.data() + entry.scales_offset());
    return tensor.WithScales({scales, *count}, owner_, group);
  }

  std::span<const std::byte> data_;
  size_t limit_;
  const std::shared_ptr<const void>& owner_;
  const Model* base_;
};

Result<std::vector<Tensor>> ReadTensors(const Sections& sections,
                                        const std::shared_ptr<const void>& owner,
                                        const Model* base) {
  static_assert(static_cast<Layout>(fbs::Layout::Panels) == Layout::kPanels);
  static_assert(static_cast<Layout>(fbs::Layout::BlockSparse) == Layout::kBlockSparse);
  const TensorReader reader(sections.data, owner, base);
  std::vector<Tensor> tensors;
  tensors.reserve(sections.metadata->tensors()->size());
  for (const fbs::Tensor* entry : *sections.metadata->tensors()) {
    Result<Tensor> tensor = reader.Read(*entry);
    if (!tensor) return std::move(tensor).error().In("tensor " + std::to_string(tensors.size()));
    tensors.push_back(*std::move(tensor));
  }
  return tensors;
}

// As they are stored, one per tensor.
Result<std::span<const uint32_t>> Checksums(const Sections& sections) {
  const uint64_t offset = sections.metadata->checksums_offset();
  const size_t tensors = sections.metadata->tensors()->size();
  if (!InData(offset, tensors * sizeof(uint32_t), sections.data.size())) {
    return InvalidData("is damaged: the checksums of its weights lie outside the file");
  }
  return std::span(reinterpret_cast<const uint32_t*>(sections.data.data() + offset), tensors);
}

std::string Identity(const Sections& sections, std::span<const uint32_t> checksums) {
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(&sections.metadata_checksum, 1)));
  hash.Update(std::as_bytes(checksums));
  return std::move(hash).HexDigest();
}

Status VerifyData(std::span<const uint32_t> stored, const std::vector<Tensor>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint32_t checksum = Crc32c(std::as_bytes(tensors[i].scales()), Crc32c(tensors[i].data()));
    if (checksum != stored[i]) {
      return InvalidData("is damaged: the checksum of tensor " + std::to_string(i) +
                         " does not match");
    }
  }
  return {};
}

// --- Graph

// Sets the fields of an attribute struct from the file's list, each at most once.
class AttributeSetter {
 public:
  explicit AttributeSetter(const flatbuffers::Vector<flatbuffers::Offset<fbs::Attribute>>& stored)
      : stored_(stored) {}

  void operator()(const char* name, int64_t& field) {
    if (const fbs::Attribute* a = Find(name)) Set(name, a->integer(), field);
  }
  void operator()(const char* name, double& field) {
    if (const fbs::Attribute* a = Find(name)) Set(name, a->real(), field);
  }
  void Optional(const char* name, double& field) { (*this)(name, field); }
  template <class Enum>
  void operator()(const char* name, Enum& field) {
    const fbs::Attribute* a = Find(name);
    if (a == nullptr) return;
    std::optional<Enum> value;
    if (a->text() != nullptr) EnumFromName(View(a->text()), value);
    Set(name, value, field);
  }

  Status Finish() && {
    if (!error_ && found_ < stored_.size()) return NeedsNewer("one of its attributes");
    if (error_) return *std::move(error_);
    return {};
  }

 private:
  const fbs::Attribute* Find(std::string_view name) {
    for (const fbs::Attribute* attribute : stored_) {
      if (View(attribute->name()) != name) continue;
      ++found_;
      return attribute;
    }
    return nullptr;
  }

  template <class Optional, class Field>
  void Set(const char* name, const Optional& value, Field& field) {
    if (value) {
      field = *value;
    } else {
      error_ = NeedsNewer("the value of its attribute " + Quoted(name));
    }
  }

  const flatbuffers::Vector<flatbuffers::Offset<fbs::Attribute>>& stored_;
  size_t found_ = 0;
  std::optional<Error> error_;
};

Result<std::vector<ValueId>> CopyIds(const flatbuffers::Vector<int32_t>* ids, Budget& budget) {
  return budget.Copy<ValueId>(ids);
}

Result<Node> ReadNode(const fbs::Node& stored, const std::vector<Tensor>& tensors, Budget& budget) {
  const OpInfo* op = FindOp(View(stored.op()));
  if (op == nullptr) return NeedsNewer("its operation " + Quoted(View(stored.op())));
  Node node;
  node.op = op->kind;
  TRY(node.name, budget.Copy(stored.name()));
  TRY(node.inputs, CopyIds(stored.inputs(), budget));
  node.weights.reserve(stored.weights()->size());
  for (const fbs::Weight* weight : *stored.weights()) {
    if (weight->tensor() >= tensors.size())
      return InvalidData("it names a tensor that is not there");
    TRY(std::string name, budget.Copy(weight->name()));
    node.weights.push_back({std::move(name), tensors[weight->tensor()]});
  }
  node.attrs = MakeAttributes(op->attribute_index);
  AttributeSetter setter(*stored.attributes());
  std::visit([&](auto& attributes) { attributes.Visit(setter); }, node.attrs);
  TRY_VOID(std::move(setter).Finish());
  node.output = ValueId{stored.output()};
  return node;
}

Result<Value> ReadValue(const fbs::Value& stored, Budget& budget) {
  static_assert(static_cast<Element>(fbs::Element::Int32) == Element::kInt32);
  static_assert(static_cast<Rows>(fbs::Rows::Sequences) == Rows::kSequences);
  Value value;
  TRY(value.name, budget.Copy(stored.name()));
  if (stored.element() > fbs::Element::MAX || stored.rows() > fbs::Rows::MAX) {
    return NeedsNewer("the type of value " + Quoted(value.name));
  }
  value.type = {static_cast<Element>(stored.element()), static_cast<Rows>(stored.rows()),
                stored.width()};
  return value;
}

Result<Graph> ReadGraph(const fbs::Graph& stored, const std::vector<Tensor>& tensors,
                        Budget& budget) {
  Graph graph;
  graph.values.reserve(stored.values()->size());
  for (const fbs::Value* value : *stored.values()) {
    TRY(graph.values.emplace_back(), ReadValue(*value, budget));
  }
  TRY(graph.inputs, CopyIds(stored.inputs(), budget));
  graph.nodes.reserve(stored.nodes()->size());
  for (const fbs::Node* node : *stored.nodes()) {
    Result<Node> read = ReadNode(*node, tensors, budget);
    if (!read) return std::move(read).error().In("node " + Quoted(View(node->name())));
    graph.nodes.push_back(*std::move(read));
  }
  graph.outputs.reserve(stored.outputs()->size());
  for (const fbs::Output* output : *stored.outputs()) {
    TRY(std::string name, budget.Copy(output->name()));
    graph.outputs.push_back({std::move(name), ValueId{output->value()}});
  }
  graph.max_sequence_length = stored.max_sequence_length();
  TRY_VOID(Verify(graph));
  return graph;
}

// --- Tokenizer

Result<std::vector<std::string>> ReadPieces(const fbs::Tokenizer& stored) {
  const std::string_view text = View(stored.piece_text());
  std::vector<std::string> pieces;
  pieces.reserve(stored.piece_ends()->size());
  size_t begin = 0;
  for (const uint32_t end : *stored.piece_ends()) {
    if (end < begin || end > text.size()) return InvalidData("the pieces overlap");
    pieces.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

Result<TokenizerSpec> ReadTokenizer(const fbs::Tokenizer& stored, Budget& budget) {
  static_assert(static_cast<TokenizerKind>(fbs::TokenizerKind::Unigram) == TokenizerKind::kUnigram);
  if (stored.kind() > fbs::TokenizerKind::MAX) return NeedsNewer("its kind");
  TokenizerSpec spec;
  spec.kind = static_cast<TokenizerKind>(stored.kind());
  TRY(spec.pieces, ReadPieces(stored));
  TRY(spec.scores, budget.Copy<double>(stored.scores()));
  spec.basic_tokenize = stored.basic_tokenize();
  spec.clean_text = stored.clean_text();
  spec.lower_case = stored.lower_case();
  spec.chinese_chars = stored.chinese_chars();
  if (stored.strip_accents().has_value()) spec.strip_accents = *stored.strip_accents();
  TRY(spec.never_split, CopyStrings(stored.never_split(), budget));
  TRY(spec.continuing_prefix, budget.Copy(stored.continuing_prefix()));
  spec.max_word_chars = stored.max_word_chars();
  for (const fbs::AddedToken* token : *stored.added_tokens()) {
    TRY(std::string text, budget.Copy(token->text()));
    spec.added_tokens.push_back({token->id(), std::move(text), token->special(),
                                 token->normalized(), token->single_word(), token->lstrip(),
                                 token->rstrip()});
  }
  spec.unknown_id = stored.unknown_id();
  spec.cls_id = stored.cls_id();
  spec.sep_id = stored.sep_id();
  spec.pad_id = stored.pad_id();
  spec.mask_id = stored.mask_id();
  spec.reserved_ids = stored.reserved_ids();
  spec.model_max_length = stored.model_max_length();
  return spec;
}

Result<Model> ReadModel(const Sections& sections, const std::vector<Tensor>& tensors,
                        const Model* base) {
  const fbs::Metadata& metadata = *sections.metadata;
  Budget budget(sections.metadata_bytes);
  Model model;
  TRY(model.architecture, budget.Copy(metadata.architecture()));
  const std::optional<Task> task = TaskFromName(View(metadata.task()));
  if (!task) return NeedsNewer("its task " + Quoted(View(metadata.task())));
  model.task = *task;
  TRY(model.labels, CopyStrings(metadata.labels(), budget));
  TRY(model.thresholds, budget.Copy<float>(metadata.thresholds()));
  TRY(model.graph, ReadGraph(*metadata.graph(), tensors, budget));
  if (base != nullptr) {
    model.tokenizer = base->tokenizer;
  } else {
    Result<TokenizerSpec> tokenizer = ReadTokenizer(*metadata.tokenizer(), budget);
    if (!tokenizer) return std::move(tokenizer).error().In("tokenizer");
    model.tokenizer = *std::move(tokenizer);
  }
  for (const fbs::Provenance* entry : *metadata.provenance()) {
    TRY(std::string key, budget.Copy(entry->key()));
    TRY(std::string text, budget.Copy(entry->text()));
    model.provenance.emplace_back(std::move(key), std::move(text));
  }
  TRY_VOID(VerifyModel(model));
  return model;
}

Status CheckBase(const fbs::Base* stored, const Model* base) {
  if (base == nullptr) {
    if (stored == nullptr) return {};
    return InvalidData(
        "is an adapter, which is used beside its base: give that as the model and this file as its "
        "adapter");
  }
  if (stored == nullptr) {
    return InvalidData("is a whole model and no adapter: use it on its own");
  }
  const std::string_view wanted = View(stored->identity());
  if (wanted == base->identity) return {};
  constexpr size_t kShown = 12;
  return InvalidData("is an adapter of another base: it belongs to the file with identity " +
                     Quoted(wanted.substr(0, kShown)) + ", not to " +
                     Quoted(base->identity.substr(0, kShown)) + " (thimble inspect shows it)");
}

Result<Model> Parse(std::span<const std::byte> file, const std::shared_ptr<const void>& owner,
                    const Model* base, const ReadOptions& options) {
  if (reinterpret_cast<uintptr_t>(file.data()) % kDataAlignment != 0) {
    return InvalidArgument("the bytes of a .thimble file must begin at a multiple of 64");
  }
  TRY(const Sections sections, Split(file));
  TRY_VOID(CheckBase(sections.metadata->base(), base));
  TRY(const std::vector<Tensor> tensors, ReadTensors(sections, owner, base));
  TRY(const std::span<const uint32_t> checksums, Checksums(sections));
  if (options.verify_data) TRY_VOID(VerifyData(checksums, tensors));
  TRY(Model model, ReadModel(sections, tensors, base));
  model.identity = Identity(sections, checksums);
  return model;
}

Result<Model> Read(const std::string& path, const Model* base, const ReadOptions& options) {
  TRY(const MappedFile file, MappedFile::Open(path));
  Result<Model> model = Parse(file.bytes(), file.owner(), base, options);
  if (!model) return std::move(model).error().In(path);
  return model;
}

}  // namespace

Result<Model> ParseThimble(std::span<const std::byte> file,
                           const std::shared_ptr<const void>& owner, const ReadOptions& options) {
  return Parse(file, owner, nullptr, options);
}

Result<Model> ParseAdapter(std::span<const std::byte> file,
                           const std::shared_ptr<const void>& owner, const Model& base,
                           const ReadOptions& options) {
  return Parse(file, owner, &base, options);
}

Result<Model> ReadAdapter(const std::string& path, const Model& base, const ReadOptions& options) {
  return Read(path, &base, options);
}

Result<Model> ReadThimble(const std::string& path, const ReadOptions& options) {
  return Read(path, nullptr, options);
}

}  // namespace thimble
