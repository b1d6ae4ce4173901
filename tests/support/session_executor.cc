#include "tests/support/session_executor.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/passes/passes.h"

namespace thimble {

Result<Graph> ThroughFile(const Graph& graph, std::string_view pass) {
  Model model;
  model.graph = graph;
  if (!pass.empty()) {
    TRY(model.graph, RunPass(*FindPass(pass), graph));
  }
  TRY(const std::string file, SerializeThimble(model));
  const Tensor bytes =
      Tensor::Copy(DType::kU8, {static_cast<int64_t>(file.size())}, std::as_bytes(std::span(file)));
  TRY(Model read, ParseThimble(bytes.data(), std::make_shared<Tensor>(bytes)));
  return std::move(read.graph);
}

Result<std::vector<ReferenceValue>> SessionExecutor::operator()(
    const PackedIds& packed, const std::vector<std::string_view>& outputs) const {
  SessionOptions options;
  options.kernels = kernels;
  for (const std::string_view name : outputs) {
    if (std::find(options.outputs.begin(), options.outputs.end(), name) == options.outputs.end()) {
      options.outputs.emplace_back(name);
    }
  }
  TRY(Session session, Session::Create(graph, options));
  Batch batch;
  for (size_t s = 0; s + 1 < packed.offsets.size(); ++s) {
    const auto begin = static_cast<size_t>(packed.offsets[s]);
    const size_t count = static_cast<size_t>(packed.offsets[s + 1]) - begin;
    batch.Add(std::span(packed.ids).subspan(begin, count),
              std::span(packed.types).subspan(begin, count),
              std::span(packed.mask).subspan(begin, count));
  }
  TRY_VOID(session.Run(batch));
  std::vector<ReferenceValue> values;
  for (const std::string_view name : outputs) {
    for (size_t i = 0; i < session.outputs(); ++i) {
      const OutputView view = session.output(i);
      if (view.name != name) continue;
      ReferenceValue value{{Element::kFloat32, view.per, static_cast<int64_t>(view.width)}, {}, {}};
      for (size_t r = 0; r < view.rows; ++r) {
        value.floats.insert(value.floats.end(), view.row(r).begin(), view.row(r).end());
      }
      values.push_back(std::move(value));
    }
  }
  return values;
}

}  // namespace thimble
