#include "thimble/formats/thimble/writer.h"

#include <array>
#include <functional>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/formats/thimble/attributes.h"
#include "thimble/formats/thimble/crc32c.h"
#include "thimble/formats/thimble/file_layout.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/formats/thimble/thimble_generated.h"
#include "thimble/graph/ops.h"

namespace thimble {
namespace {

// --- Where tensors go

// A weight of the base, by the indices of its node and of itself.
struct BaseWeight {
  uint32_t node = 0, weight = 0;
};

// A tensor of the file: what to store, in which form, and where.
struct Entry {
  Tensor source;
  StoredForm form;
  std::optional<BaseWeight> base;  // there, and not here
  size_t offset = 0, bytes = 0, scales_offset = 0;
};

// The data section, laid out before anything is converted.
class DataPlan {
 public:
  // `base` null: the file has none.
  explicit DataPlan(const Model* base) {
    if (base == nullptr) return;
    for (uint32_t n = 0; n < base->graph.nodes.size(); ++n) {
      const Node& node = base->graph.nodes[n];
      for (uint32_t w = 0; w < node.weights.size(); ++w) {
        const Tensor& tensor = node.weights[w].tensor;
        of_base_.emplace(tensor.data().data(), std::pair(tensor, BaseWeight{n, w}));
      }
    }
  }

  // Index of the tensor; the same for constants that share storage and form.
  size_t Add(const Tensor& source, const StoredForm& form) {
    std::vector<size_t>& candidates = by_address_[source.data().data()];
    for (const size_t i : candidates) {
      if (entries_[i].source.SameAs(source) && entries_[i].form == form) return i;
    }
    Entry entry{source, form, OfBase(source, form)};
    if (!entry.base) Place(entry);
    entries_.push_back(std::move(entry));
    candidates.push_back(entries_.size() - 1);
    return entries_.size() - 1;
  }

  const std::vector<Entry>& entries() const { return entries_; }
  size_t checksums_offset() const { return end_; }
  size_t data_bytes() const {
    return end_ + RoundUp(entries_.size() * sizeof(uint32_t), kDataAlignment) + kPanelGuardBytes;
  }

 private:
  std::optional<BaseWeight> OfBase(const Tensor& source, const StoredForm& form) const {
    const auto found = of_base_.find(source.data().data());
    if (found == of_base_.end()) return std::nullopt;
    const auto& [tensor, place] = found->second;
    const bool same = tensor.SameAs(source) && tensor.scales().data() == source.scales().data() &&
                      StoredForm{tensor.dtype(), tensor.layout()} == form;
    return same ? std::optional(place) : std::nullopt;
  }

  void Place(Entry& entry) {
    const StoredForm& form = entry.form;
    if (form.layout == Layout::kBlockSparse) {
      entry.bytes = entry.source.data().size();  // the form of what is that already
    } else {
      const auto bytes = StorageBytes(form.dtype, entry.source.shape(), form.layout);
      THIMBLE_CHECK(bytes.has_value());
      entry.bytes = *bytes;
    }
    entry.offset = Take(entry.bytes);
    if (IsQuantized(form.dtype)) {
      const std::optional<size_t> scales =
          ScaleCount(form.dtype, entry.source.shape(), form.layout, entry.source.scale_group());
      THIMBLE_CHECK(scales.has_value());
      entry.scales_offset = Take(*scales * sizeof(float));
    }
  }

  size_t Take(size_t bytes) { return std::exchange(end_, end_ + RoundUp(bytes, kDataAlignment)); }

  std::vector<Entry> entries_;
  std::map<const std::byte*, std::vector<size_t>> by_address_;
  std::map<const std::byte*, std::pair<Tensor, BaseWeight>> of_base_;
  size_t end_ = 0;
};

// --- Metadata

template <class T>
using Offsets = std::vector<flatbuffers::Offset<T>>;

class AttributeWriter {
 public:
  explicit AttributeWriter(flatbuffers::FlatBufferBuilder& fbb) : fbb_(fbb) {}

  void operator()(const char* name, int64_t& value) {
    Add(name, flatbuffers::Optional<int64_t>(value), {}, {});
  }
  void operator()(const char* name, double& value) {
    Add(name, {}, flatbuffers::Optional<double>(value), {});
  }
  // Left out where it is not set, so that older readers refuse only files that need it.
  void Optional(const char* name, double& value) {
    if (value != 0) (*this)(name, value);
  }
  template <class Enum>
  void operator()(const char* name, Enum& value) {
    const std::string_view text = EnumName(value);
    Add(name, {}, {}, fbb_.CreateSharedString(text.data(), text.size()));
  }

  Offsets<fbs::Attribute> attributes;

 private:
  void Add(const char* name, flatbuffers::Optional<int64_t> integer,
           flatbuffers::Optional<double> real, flatbuffers::Offset<flatbuffers::String> text) {
    attributes.push_back(
        fbs::CreateAttribute(fbb_, fbb_.CreateSharedString(name), integer, real, text));
  }

  flatbuffers::FlatBufferBuilder& fbb_;
};

class MetadataWriter {
 public:
  // Adds the constants to `plan` as it meets them.
  MetadataWriter(const Model& model, const Model* base, DataPlan& plan)
      : model_(model), base_(base), plan_(plan) {}

  flatbuffers::DetachedBuffer Write() && {
    const auto graph = WriteGraph();
    const auto tensors = WriteTensors();
    const auto tokenizer = WriteTokenizer();
    Offsets<fbs::Provenance> provenance;
    for (const auto& [key, text] : model_.provenance) {
      provenance.push_back(fbs::CreateProvenance(fbb_, Text(key), Text(text)));
    }
    flatbuffers::Offset<fbs::Base> base;
    if (base_ != nullptr) base = fbs::CreateBase(fbb_, Text(base_->identity));
    const auto metadata = fbs::CreateMetadata(
        fbb_, kThimbleMajor, kThimbleMinor, Text(model_.architecture),
        SharedText(TaskName(model_.task)), fbb_.CreateVectorOfStrings(model_.labels),
        fbb_.CreateVector(model_.thresholds), graph, tokenizer, fbb_.CreateVector(provenance),
        tensors, plan_.data_bytes(), plan_.checksums_offset(), base);
    fbs::FinishSizePrefixedMetadataBuffer(fbb_, metadata);
    return fbb_.Release();
  }

 private:
  flatbuffers::Offset<flatbuffers::String> Text(const std::string& text) {
    return fbb_.CreateString(text);
  }
  // For the few names that recur in every node.
  flatbuffers::Offset<flatbuffers::String> SharedText(std::string_view text) {
    return fbb_.CreateSharedString(text.data(), text.size());
  }

  flatbuffers::Offset<flatbuffers::Vector<int32_t>> Ids(const std::vector<ValueId>& ids) {
    std::vector<int32_t> numbers;
    numbers.reserve(ids.size());
    for (const ValueId id : ids) numbers.push_back(static_cast<int32_t>(id));
    return fbb_.CreateVector(numbers);
  }

  flatbuffers::Offset<fbs::Node> WriteNode(const Node& node) {
    Offsets<fbs::Weight> weights;
    for (size_t i = 0; i < node.weights.size(); ++i) {
      const size_t tensor = plan_.Add(node.weights[i].tensor, StoredFormOf(node, i));
      weights.push_back(
          fbs::CreateWeight(fbb_, Text(node.weights[i].name), static_cast<uint32_t>(tensor)));
    }
    AttributeWriter writer(fbb_);
    Attributes attributes = node.attrs;
    std::visit([&](auto& a) { a.Visit(writer); }, attributes);
    return fbs::CreateNode(fbb_, SharedText(GetOp(node.op).name), Text(node.name), Ids(node.inputs),
                           fbb_.CreateVector(weights), fbb_.CreateVector(writer.attributes),
                           static_cast<int32_t>(node.output));
  }

  flatbuffers::Offset<fbs::Graph> WriteGraph() {
    const Graph& graph = model_.graph;
    Offsets<fbs::Value> values;
    for (const Value& value : graph.values) {
      values.push_back(fbs::CreateValue(fbb_, Text(value.name),
                                        static_cast<fbs::Element>(value.type.element),
                                        static_cast<fbs::Rows>(value.type.rows), value.type.width));
    }
    Offsets<fbs::Node> nodes;
    for (const Node& node : graph.nodes) nodes.push_back(WriteNode(node));
    Offsets<fbs::Output> outputs;
    for (const GraphOutput& output : graph.outputs) {
      outputs.push_back(
          fbs::CreateOutput(fbb_, Text(output.name), static_cast<int32_t>(output.value)));
    }
    return fbs::CreateGraph(fbb_, fbb_.CreateVector(values), Ids(graph.inputs),
                            fbb_.CreateVector(nodes), fbb_.CreateVector(outputs),
                            graph.max_sequence_length);
  }

  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fbs::Tensor>>> WriteTensors() {
    Offsets<fbs::Tensor> tensors;
    for (const Entry& entry : plan_.entries()) {
      if (entry.base) {
        tensors.push_back(fbs::CreateTensor(fbb_, SharedText(kBaseDType),
                                            fbb_.CreateVector(Shape()), {}, 0, 0, 0,
                                            entry.base->node, entry.base->weight));
        continue;
      }
      tensors.push_back(fbs::CreateTensor(
          fbb_, SharedText(DTypeName(entry.form.dtype)), fbb_.CreateVector(entry.source.shape()),
          static_cast<fbs::Layout>(entry.form.layout), entry.offset, entry.bytes,
          entry.scales_offset, 0, 0, static_cast<uint32_t>(entry.source.scale_group())));
    }
    return fbb_.CreateVector(tensors);
  }

  flatbuffers::Offset<fbs::Tokenizer> WriteTokenizer() {
    const TokenizerSpec none;
    const TokenizerSpec& spec = base_ != nullptr ? none : model_.tokenizer;
    std::string text;
    std::vector<uint32_t> ends;
    for (const std::string& piece : spec.pieces) {
      text += piece;
      ends.push_back(static_cast<uint32_t>(text.size()));
    }
    Offsets<fbs::AddedToken> added;
    for (const AddedToken& token : spec.added_tokens) {
      added.push_back(fbs::CreateAddedToken(fbb_, token.id, Text(token.text), token.special,
                                            token.normalized, token.single_word, token.lstrip,
                                            token.rstrip));
    }
    const auto strip_accents = spec.strip_accents ? flatbuffers::Optional<bool>(*spec.strip_accents)
                                                  : flatbuffers::Optional<bool>();
    return fbs::CreateTokenizer(
        fbb_, static_cast<fbs::TokenizerKind>(spec.kind), Text(text), fbb_.CreateVector(ends),
        fbb_.CreateVector(spec.scores), spec.basic_tokenize, spec.clean_text, spec.lower_case,
        spec.chinese_chars, strip_accents, fbb_.CreateVectorOfStrings(spec.never_split),
        Text(spec.continuing_prefix), spec.max_word_chars, fbb_.CreateVector(added),
        spec.unknown_id, spec.cls_id, spec.sep_id, spec.pad_id, spec.mask_id, spec.reserved_ids,
        spec.model_max_length);
  }

  const Model& model_;
  const Model* base_;  // null: none
  DataPlan& plan_;
  flatbuffers::FlatBufferBuilder fbb_;
};

// --- The file

using Sink = std::function<Status(std::span<const std::byte>)>;

// `size` bytes were written: zeros up to the next multiple of 64.
Status Pad(size_t size, const Sink& sink) {
  static constexpr std::array<std::byte, kDataAlignment> kZeros{};
  return sink(std::span(kZeros).first(RoundUp(size, kDataAlignment) - size));
}

Status WriteData(const DataPlan& plan, const Sink& sink) {
  std::vector<uint32_t> checksums;
  for (const Entry& entry : plan.entries()) {
    const Tensor tensor = InForm(entry.source, entry.form);
    const std::span<const std::byte> scales = std::as_bytes(tensor.scales());
    checksums.push_back(Crc32c(scales, Crc32c(tensor.data())));
    if (entry.base) continue;
    THIMBLE_CHECK(tensor.data().size() == entry.bytes);
    TRY_VOID(sink(tensor.data()));
    TRY_VOID(Pad(tensor.data().size(), sink));
    TRY_VOID(sink(scales));
    TRY_VOID(Pad(scales.size(), sink));
  }
  const std::span<const std::byte> table = std::as_bytes(std::span(checksums));
  TRY_VOID(sink(table));
  TRY_VOID(Pad(table.size(), sink));
  static constexpr std::array<std::byte, kPanelGuardBytes> kGuard{};
  return sink(kGuard);
}

// What the format cannot hold: FlatBuffers count with 32 bits.
Status CheckWritable(const Model& model) {
  constexpr size_t kLimit = size_t{1} << 30;
  size_t text = 0;
  for (const std::string& piece : model.tokenizer.pieces) text += piece.size() + sizeof(uint32_t);
  for (const auto& [key, value] : model.provenance) text += key.size() + value.size();
  if (text > kLimit) return ResourceExhausted("its vocabulary and provenance exceed 1 GiB");
  for (const Node& node : model.graph.nodes) {
    for (const Weight& weight : node.weights) {
      if (weight.tensor.rank() > kMaxTensorRank) {
        return Unsupported("weight '" + weight.name + "' has more than 8 dimensions");
      }
    }
  }
  return {};
}

Status CheckBase(const Model& model, const Model* base) {
  if (base == nullptr) return {};
  if (base->identity.empty()) {
    return InvalidArgument("the base of an adapter must have been read from a .thimble file");
  }
  if (!(model.tokenizer == base->tokenizer)) {
    return InvalidArgument("an adapter has the tokenizer of its base, and this one has another");
  }
  return {};
}

Status Write(const Model& model, const Model* base, const Sink& sink) {
  TRY_VOID(Verify(model.graph));
  TRY_VOID(VerifyModel(model));
  TRY_VOID(CheckWritable(model));
  TRY_VOID(CheckBase(model, base));
  DataPlan plan(base);
  const flatbuffers::DetachedBuffer metadata = MetadataWriter(model, base, plan).Write();
  const auto bytes = std::as_bytes(std::span(metadata.data(), metadata.size()));
  const uint32_t checksum = Crc32c(bytes);
  TRY_VOID(sink(bytes));
  TRY_VOID(sink(std::as_bytes(std::span(&checksum, 1))));
  TRY_VOID(Pad(bytes.size() + sizeof(checksum), sink));
  return WriteData(plan, sink);
}

Status WriteFile(const Model& model, const Model* base, const std::string& path) {
  TRY(AtomicFile file, AtomicFile::Create(path));
  Status written =
      Write(model, base, [&](std::span<const std::byte> bytes) { return file.Append(bytes); });
  if (!written) {
    return written.error().code() == ErrorCode::kIo ? std::move(written)
                                                    : Status(std::move(written).error().In(path));
  }
  return file.Commit();
}

Result<std::string> Serialize(const Model& model, const Model* base) {
  std::string file;
  TRY_VOID(Write(model, base, [&](std::span<const std::byte> bytes) {
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return Status();
  }));
  return file;
}

}  // namespace

Status WriteThimble(const Model& model, const std::string& path) {
  return WriteFile(model, nullptr, path);
}

Result<std::string> SerializeThimble(const Model& model) { return Serialize(model, nullptr); }

Status WriteAdapter(const Model& model, const Model& base, const std::string& path) {
  return WriteFile(model, &base, path);
}

Result<std::string> SerializeAdapter(const Model& model, const Model& base) {
  return Serialize(model, &base);
}

}  // namespace thimble
