#include "thimble/train/torchscript.h"

// First: its order of headers is the one that clang takes.
#include "thimble/train/torch.h"

#include <torch/csrc/jit/api/module.h>

#include <cctype>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/formats/huggingface/write_tokenizer.h"

namespace thimble::train {
namespace {

// Codes of types as TorchScript's Tensor.to takes them.
constexpr const char* kLong = ".to(4)";
constexpr const char* kFloat = ".to(6)";

// A number that reads as a float, to the last bit.
std::string Number(double value) {
  std::ostringstream text;
  text.precision(17);
  text << value;
  const std::string digits = text.str();
  return digits.find_first_of(".e") == digits.npos ? digits + ".0" : digits;
}

std::string Function(Activation function, const std::string& x) {
  const std::string gelu = "torch.gelu(" + x + ")";
  switch (function) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return "torch.relu(" + x + ")";
    case Activation::kRelu6:
      return "torch.clamp(" + x + ", 0.0, 6.0)";
    case Activation::kRelu2:
      return "torch.relu(" + x + ") * torch.relu(" + x + ")";
    case Activation::kGelu:
      return gelu;
    case Activation::kGeluTanh:
      return "0.5 * " + x + " * (1.0 + torch.tanh(0.7978845608028654 * (" + x + " + 0.044715 * " +
             x + " * " + x + " * " + x + ")))";
    case Activation::kQuickGelu:
      return x + " * torch.sigmoid(1.702 * " + x + ")";
    case Activation::kGelu10:
      return "torch.clamp(" + gelu + ", -10.0, 10.0)";
    case Activation::kLeakyRelu:
      return "torch.leaky_relu(" + x + ", 0.01)";
    case Activation::kSilu:
      return x + " * torch.sigmoid(" + x + ")";
    case Activation::kMish:
      return x + " * torch.tanh(torch.softplus(" + x + "))";
    case Activation::kSigmoid:
      return "torch.sigmoid(" + x + ")";
    case Activation::kTanh:
      return "torch.tanh(" + x + ")";
  }
  return x;
}

struct Parameter {
  std::string name, source;  // source: of the weight
  Tensor tensor;
};

// Writes `forward` line by line; values are called v0, v1, ... by their index, parameters after their weights.
class Source {
 public:
  explicit Source(const Model& model) : graph_(model.graph), task_(model.task) {}

  Result<std::string> Write() {
    text_ =
        "def forward(self, input_ids: Tensor, attention_mask: Optional[Tensor]=None, "
        "token_type_ids: Optional[Tensor]=None):\n";
    Line(std::string("ids = input_ids") + kLong);
    Line("mask = torch.ones_like(ids)");
    Line("if attention_mask is not None:");
    Line(std::string("  mask = (attention_mask != 0)") + kLong);
    Line("types = torch.zeros_like(ids)");
    Line("if token_type_ids is not None:");
    Line(std::string("  types = token_type_ids") + kLong);
    Line(std::string("kept = mask") + kFloat);
    // Hugging Face's: the most negative number is added to the scores of masked keys.
    Line("masked = ((1.0 - kept) * -3.4028234663852886e+38).unsqueeze(1).unsqueeze(1)");
    for (const ValueId id : graph_.inputs) {
      Line(Name(id) + (graph_.value(id).name == kTokenTypeIds ? " = types" : " = ids"));
    }
    for (const Node& node : graph_.nodes) Line(Name(node.output) + " = " + Expression(node));
    TRY(const std::string result, Returned());
    Line("return " + result);
    return text_;
  }

  const std::vector<Parameter>& parameters() const { return parameters_; }

 private:
  void Line(const std::string& line) { text_ += "  " + line + "\n"; }
  static std::string Name(ValueId id) { return "v" + std::to_string(Index(id)); }

  // A parameter as float32; nodes that share a weight share it here.
  std::string Weight(const thimble::Weight& weight, bool widen = true) {
    for (const Parameter& p : parameters_) {
      if (IsSame(p, weight)) return Used(p, widen);
    }
    std::string name = "w_" + weight.name;
    for (char& c : name) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    }
    while (!names_.insert(name).second) name += "_";
    parameters_.push_back({std::move(name), weight.name, weight.tensor});
    return Used(parameters_.back(), widen);
  }
  // A table and a decoder that are tied share a name too, but no storage where their layouts differ.
  static bool IsSame(const Parameter& p, const thimble::Weight& weight) {
    const Tensor& tensor = weight.tensor;
    if (p.tensor.SameAs(tensor)) return true;
    return p.source == weight.name && p.tensor.shape() == tensor.shape() &&
           p.tensor.dtype() == tensor.dtype() && p.tensor.ToFloats() == tensor.ToFloats();
  }
  static std::string Used(const Parameter& p, bool widen) {
    const DType type = p.tensor.dtype();
    return "self." + p.name +
           (widen && (type == DType::kF16 || type == DType::kBF16) ? kFloat : "");
  }

  std::string Expression(const Node& node) {
    const std::string x = Name(node.inputs[0]);
    switch (node.op) {
      case OpKind::kPositionIds:
        return Positions(std::get<PositionIdsAttrs>(node.attrs), x);
      case OpKind::kEmbedding:
        return "torch.embedding(" + Weight(node.weights[0], false) + ", " + x + ")" + kFloat;
      case OpKind::kTrigram:
        return "torch.cat([torch.constant_pad_nd(" + x + "[:, 1:], [0, 0, 0, 1], 0.0), " + x +
               ", torch.constant_pad_nd(" + x + "[:, :-1], [0, 0, 1, 0], 0.0)], -1)";
      case OpKind::kLinear:
        return Linear(node, x);
      case OpKind::kAttention:
        return Attention(node);
      case OpKind::kLayerNorm:
        return "torch.layer_norm(" + x + ", [" + std::to_string(node.weights[0].tensor.dim(0)) +
               "], " + Weight(node.weights[0]) + ", " + Weight(node.weights[1]) + ", " +
               Number(std::get<LayerNormAttrs>(node.attrs).epsilon) + ")";
      case OpKind::kAffine:
        return x + " * " + Weight(node.weights[0]) + " + " + Weight(node.weights[1]);
      case OpKind::kActivation:
        return Function(std::get<ActivationAttrs>(node.attrs).function, x);
      case OpKind::kAdd:
        return x + " + " + Name(node.inputs[1]);
      case OpKind::kPool:
        if (std::get<PoolAttrs>(node.attrs).kind == PoolKind::kFirst) return x + "[:, 0]";
        return "torch.sum(" + x +
               " * kept.unsqueeze(-1), [1]) / torch.clamp_min(torch.sum(kept, [1]), "
               "1.0).unsqueeze(-1)";
      case OpKind::kL2Normalize:
        return x + " / torch.clamp_min(torch.sqrt(torch.sum(" + x + " * " + x +
               ", [-1], True)), 1e-38)";
    }
    return x;
  }

  static std::string Positions(const PositionIdsAttrs& attrs, const std::string& ids) {
    if (attrs.skip_id < 0)
      return "torch.cumsum(torch.ones_like(" + ids + "), 1) + " + std::to_string(attrs.offset - 1);
    const std::string counted = "(" + ids + " != " + std::to_string(attrs.skip_id) + ")" + kLong;
    return "torch.cumsum(" + counted + ", 1) * " + counted + " + " +
           std::to_string(attrs.offset - 1);
  }

  std::string Linear(const Node& node, std::string x) {
    const double scale =
        std::get_if<LinearAttrs>(&node.attrs) ? std::get<LinearAttrs>(node.attrs).input_scale : 0;
    if (scale != 0) {
      x = "torch.clamp(torch.round(" + x + " / " + Number(scale) + "), -127.0, 127.0) * " +
          Number(scale);
    }
    const std::string bias = node.weights.size() > 1 ? Weight(node.weights[1]) : "None";
    return "torch.linear(" + x + ", " + Weight(node.weights[0]) + ", " + bias + ")";
  }

  // Heads as a dimension of their own, before the tokens.
  std::string Heads(ValueId id, int64_t heads) const {
    const bool pooled = graph_.value(id).type.rows == Rows::kSequences;
    const std::string x = Name(id) + (pooled ? ".unsqueeze(1)" : "");
    return x + ".reshape(" + x + ".size(0), " + x + ".size(1), " + std::to_string(heads) + ", " +
           std::to_string(graph_.value(id).type.width / heads) + ").transpose(1, 2)";
  }

  std::string Attention(const Node& node) {
    const auto& attrs = std::get<AttentionAttrs>(node.attrs);
    const ValueId q = node.inputs[0], k = node.inputs[1], v = node.inputs[2];
    Line("q = " + Heads(q, attrs.heads));
    Line("k = " + Heads(k, attrs.heads));
    Line("scores = torch.matmul(q, k.transpose(2, 3)) * " + Number(attrs.scale) + " + masked");
    Line("a = torch.matmul(torch.softmax(scores, -1), " + Heads(v, attrs.heads) +
         ").transpose(1, 2).flatten(2)");
    return graph_.value(q).type.rows == Rows::kSequences ? "a.squeeze(1)" : "a";
  }

  Result<std::string> Returned() const {
    const auto output = [&](const char* name) {
      const GraphOutput* found = graph_.FindOutput(name);
      return found == nullptr ? std::string() : Name(found->value);
    };
    const std::string first = output(task_ == Task::kFeatures ? "last_hidden_state" : "logits");
    if (first.empty()) return InvalidData("the graph has no output that its task reads");
    if (task_ == Task::kAnswers) return "(" + first + "[:, :, 0], " + first + "[:, :, 1])";
    std::string second;
    if (task_ == Task::kFeatures) second = output("pooler_output");
    if (task_ == Task::kPretraining) second = output("seq_relationship_logits");
    return second.empty() ? first : "(" + first + ", " + second + ")";
  }

  const Graph& graph_;
  const Task task_;
  std::string text_;
  std::vector<Parameter> parameters_;
  std::set<std::string> names_;
};

// A copy that libtorch owns.
at::Tensor ToTorch(const Tensor& tensor) {
  const DType type = tensor.dtype();
  const bool kept = type == DType::kF16 || type == DType::kBF16;
  const auto torch_type = type == DType::kF16    ? at::kHalf
                          : type == DType::kBF16 ? at::kBFloat16
                                                 : at::kFloat;
  const at::Tensor result = at::empty(tensor.shape(), torch_type);
  if (kept) {
    const Tensor rows = tensor.InLayout(Layout::kRowMajor);
    std::memcpy(result.data_ptr(), rows.data().data(), rows.data().size());
  } else {
    const std::vector<float> values = tensor.ToFloats();
    std::memcpy(result.data_ptr(), values.data(), values.size() * sizeof(float));
  }
  return result;
}

std::string Facts(const Model& model) {
  nlohmann::ordered_json facts = {{"architecture", model.architecture},
                                  {"task", TaskName(model.task)},
                                  {"labels", model.labels},
                                  {"thresholds", model.thresholds},
                                  {"max_sequence_length", model.graph.max_sequence_length}};
  auto& provenance = facts["provenance"] = nlohmann::ordered_json::object();
  for (const auto& [key, text] : model.provenance) provenance[key] = text;
  return facts.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

// libtorch's stream of an archive, made of what it throws and of memory.
Result<std::string> Archive(const Model& model, const TorchScriptOptions& options) {
  Source source(model);
  TRY(const std::string text, source.Write());
  try {
    torch::jit::Module module("__torch__.thimble.Model");
    for (const Parameter& p : source.parameters()) {
      module.register_parameter(p.name, ToTorch(p.tensor), /*is_buffer=*/false);
    }
    for (const auto& parameter : module.parameters()) parameter.set_requires_grad(false);
    module.define(text);
    module.eval();
    torch::jit::ExtraFilesMap files;
    files["thimble.json"] = Facts(model);
    for (const auto& [name, content] : WriteTokenizerFiles(model.tokenizer, "Bert"))
      files[name] = content;
    std::ostringstream stream;
    if (options.mobile) {
      module._save_for_mobile(stream, files);
    } else {
      module.save(stream, files);
    }
    return std::move(stream).str();
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return Unsupported("libtorch cannot write it: " + what.substr(0, what.find('\n')));
  }
}

}  // namespace

Result<std::string> TorchScriptSource(const Model& model) { return Source(model).Write(); }

Result<size_t> ExportTorchScript(const Model& model, const std::string& path,
                                 const TorchScriptOptions& options) {
  TRY(const std::string archive, Archive(model, options));
  TRY(AtomicFile file, AtomicFile::Create(path));
  TRY_VOID(file.Append(archive));
  TRY_VOID(file.Commit());
  return archive.size();
}

}  // namespace thimble::train
