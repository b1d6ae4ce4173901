// Runs any executor through the goldens.
//
// MakeExecutor: callable (const Graph&) -> Result<Executor>
// Executor:     callable (const PackedIds&, const std::vector<std::string_view>& outputs)
//                 -> Result<std::vector<ReferenceValue>>, one value per named output of the graph
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/golden_case.h"
#include "tests/support/shared.h"

namespace thimble {

// The reference of every operation as an executor.
struct ReferenceExecutor {
  Graph graph;

  Result<std::vector<ReferenceValue>> operator()(
      const PackedIds& packed, const std::vector<std::string_view>& outputs) const {
    std::vector<std::span<const int32_t>> inputs;
    for (const ValueId id : graph.inputs) {
      inputs.push_back(graph.value(id).name == kInputIds ? packed.ids : packed.types);
    }
    return RunReference(graph, packed.batch(), inputs, outputs);
  }
};

// The rows of one output, or one column of them, against expected values; names the worst element.
inline void ExpectClose(const std::string& place, const std::vector<float>& got,
                        const std::vector<float>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size()) << place;
  double largest = 1;
  for (const float w : want) largest = std::max(largest, std::abs(static_cast<double>(w)));
  size_t worst = 0;
  double error = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double e = std::abs(static_cast<double>(got[i]) - want[i]);
    if (!(e <= error)) worst = i, error = e;  // NaN counts as worst
  }
  EXPECT_LE(error, tolerance * largest) << place << ": element " << worst << " of " << want.size()
                                        << " is " << got[worst] << ", expected " << want[worst];
}

// The part of an output that is known.
inline std::vector<float> Known(const ReferenceValue& value, const ExpectedOutput& expected) {
  const auto width = static_cast<size_t>(value.type.width);
  std::vector<size_t> rows = expected.rows;
  if (rows.empty()) {
    rows.resize(value.floats.size() / width);
    std::iota(rows.begin(), rows.end(), size_t{0});
  }
  std::vector<float> known;
  for (const size_t row : rows) {
    const float* first = value.floats.data() + row * width + expected.first_column;
    known.insert(known.end(), first, first + std::min(expected.columns, width));
  }
  return known;
}

template <class Executor>
void CheckRun(const GoldenRun& run, const Executor& executor, double tolerance) {
  std::vector<std::string_view> names;
  for (const ExpectedOutput& output : run.outputs) names.push_back(output.graph_output);
  const Result<std::vector<ReferenceValue>> values = executor(run.inputs, names);
  ASSERT_TRUE(values.has_value()) << run.name << ": " << values.error().message();
  for (size_t i = 0; i < run.outputs.size(); ++i) {
    ExpectClose(run.name + " " + run.outputs[i].name, Known((*values)[i], run.outputs[i]),
                run.outputs[i].values, tolerance);
  }
}

// Every run as it is and, where that must give the same, without its padding. `slack` multiplies
// the case's own tolerance, which is for exact float32 weights in any order of summation.
template <class MakeExecutor>
void CheckGolden(const Result<GoldenCase>& golden, const MakeExecutor& make, double slack = 1) {
  ASSERT_TRUE(golden.has_value()) << golden.error().message();
  const auto executor = make(golden->graph);
  ASSERT_TRUE(executor.has_value()) << executor.error().message();
  ASSERT_FALSE(golden->runs.empty());
  for (const GoldenRun& run : golden->runs) {
    ASSERT_FALSE(run.outputs.empty()) << run.name;
    CheckRun(run, *executor, golden->tolerance * slack);
    if (const std::optional<GoldenRun> cut = WithoutPadding(golden->graph, run)) {
      CheckRun(*cut, *executor, golden->tolerance * slack);
    }
  }
}

// Names of parameterised tests.
inline std::string GoldenName(const testing::TestParamInfo<std::filesystem::path>& info) {
  std::string name = info.param.filename().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

// Model types of the text goldens.
inline std::vector<std::string> TextModels() {
  return {"bert", "distilbert", "mobilebert", "roberta", "albert"};
}

// Folders of text goldens that hold their weights.
inline std::vector<std::filesystem::path> StoredTextCases() {
  std::vector<std::filesystem::path> folders = GoldenFolders("expected.safetensors", TextModels());
  std::erase_if(folders, [](const auto& f) { return std::filesystem::exists(f / "recipe.json"); });
  return folders;
}

}  // namespace thimble
