// Every golden through libtorch, by the plain expressions and by the fast ones.
#include <gtest/gtest.h>

#include "tests/support/golden_runner.h"
#include "tests/support/shared.h"
#include "thimble/train/executor.h"

namespace thimble {
namespace {

struct TorchExecutor {
  Graph graph;
  bool plain = false;

  Result<std::vector<ReferenceValue>> operator()(
      const PackedIds& packed, const std::vector<std::string_view>& outputs) const {
    const train::ParameterSet parameters = train::ParameterSet::Create(graph);
    TRY(const train::Executor executor,
        train::Executor::Create(graph, parameters, {.plain = plain}));
    Batch batch;
    for (size_t s = 0; s + 1 < packed.offsets.size(); ++s) {
      const auto begin = static_cast<size_t>(packed.offsets[s]);
      const size_t count = static_cast<size_t>(packed.offsets[s + 1]) - begin;
      batch.Add(std::span(packed.ids).subspan(begin, count),
                std::span(packed.types).subspan(begin, count),
                std::span(packed.mask).subspan(begin, count));
    }
    std::vector<ValueId> wanted;
    for (const std::string_view name : outputs) wanted.push_back(graph.FindOutput(name)->value);
    TRY(const std::vector<at::Tensor> tensors, executor.Run(batch, wanted));
    std::vector<ReferenceValue> values;
    for (size_t i = 0; i < tensors.size(); ++i) {
      ReferenceValue value{graph.value(wanted[i]).type, {}, {}};
      const at::Tensor t = tensors[i].contiguous();
      value.floats.assign(t.data_ptr<float>(), t.data_ptr<float>() + t.numel());
      values.push_back(std::move(value));
    }
    return values;
  }
};

class TorchGolden : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(TorchGolden, AgreesWithTheOriginal) {
  for (const bool plain : {true, false}) {
    SCOPED_TRACE(plain ? "plain" : "fast");
    CheckGolden(LoadGoldenCase(GetParam()), [&](const Graph& graph) -> Result<TorchExecutor> {
      return TorchExecutor{graph, plain};
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TorchGolden, testing::ValuesIn(StoredTextCases()), GoldenName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TorchGolden);

}  // namespace
}  // namespace thimble
