#include "thimble/runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "thimble/graph/block_sparse.h"
#include "thimble/runtime/test_graphs.h"

namespace thimble {
namespace {

using testing::HasSubstr;

struct Sequence {
  std::vector<int32_t> ids, types;
  std::vector<uint8_t> mask;
};

// Sequences of these lengths; every third one has a mask with holes, one is masked altogether.
std::vector<Sequence> MakeSequences(const std::vector<size_t>& lengths) {
  std::mt19937 rng(7);
  std::vector<Sequence> sequences;
  for (size_t s = 0; s < lengths.size(); ++s) {
    Sequence sequence;
    for (size_t t = 0; t < lengths[s]; ++t) {
      sequence.ids.push_back(static_cast<int32_t>(rng() % 50));
      sequence.types.push_back(static_cast<int32_t>(rng() % 2));
      if (s % 3 == 1) sequence.mask.push_back(s == 4 ? 0 : static_cast<uint8_t>(rng() % 4 != 0));
    }
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

Batch ToBatch(const std::vector<Sequence>& sequences) {
  Batch batch;
  for (const Sequence& s : sequences) batch.Add(s.ids, s.types, s.mask);
  return batch;
}

// All outputs of a run, rows packed.
std::vector<std::vector<float>> Values(const Session& session) {
  std::vector<std::vector<float>> all;
  for (size_t i = 0; i < session.outputs(); ++i) {
    const OutputView view = session.output(i);
    std::vector<float> values;
    for (size_t r = 0; r < view.rows; ++r) {
      values.insert(values.end(), view.row(r).begin(), view.row(r).end());
    }
    all.push_back(std::move(values));
  }
  return all;
}

const std::vector<std::string> kAllOutputs = {"last_hidden_state", "logits", "embedding"};
const std::vector<size_t> kLengths = {5, 1, 9, 64, 3, 17, 2, 33};

std::vector<std::vector<float>> RunOnce(const Graph& graph, const std::vector<Sequence>& sequences,
                                        SessionOptions options) {
  Result<Session> session = Session::Create(graph, std::move(options));
  EXPECT_TRUE(session.has_value()) << session.error().message();
  const Status status = session->Run(ToBatch(sequences));
  EXPECT_TRUE(status.has_value()) << status.error().message();
  return Values(*session);
}

class SessionOfType : public testing::TestWithParam<DType> {};

// Error of the whole graph as a fraction of the signal: rounding alone for float weights (which the
// reference widens alike), quantized activations for int8.
TEST_P(SessionOfType, AgreesWithTheReference) {
  const Graph graph = TestGraph(GetParam()).Encoder();
  const std::vector<Sequence> sequences = MakeSequences(kLengths);
  const Batch batch = ToBatch(sequences);
  const std::vector<std::string_view> names(kAllOutputs.begin(), kAllOutputs.end());
  const std::vector<std::span<const int32_t>> inputs = {batch.ids(), batch.type_ids()};
  const auto want = RunReference(graph, batch.packed(), inputs, names);
  ASSERT_TRUE(want.has_value()) << want.error().message();
  const auto got = RunOnce(graph, sequences, {.outputs = kAllOutputs});
  const double limit = GetParam() == DType::kI8 ? 1e-3 : 1e-11;
  for (size_t o = 0; o < got.size(); ++o) {
    ASSERT_EQ(got[o].size(), (*want)[o].floats.size());
    double error = 0, signal = 0;
    for (size_t i = 0; i < got[o].size(); ++i) {
      const double w = (*want)[o].floats[i];
      error += (got[o][i] - w) * (got[o][i] - w);
      signal += w * w;
    }
    EXPECT_LT(error / signal, limit) << kAllOutputs[o];
  }
}

// The same bits on every instruction set with fused multiply-add, at every thread count, for every
// composition of the batch, and whichever outputs are asked for.
TEST_P(SessionOfType, GivesTheSameBitsHoweverItRuns) {
  const Graph graph = TestGraph(GetParam()).Encoder();
  const std::vector<Sequence> sequences = MakeSequences(kLengths);
  const auto want = RunOnce(graph, sequences, {.outputs = kAllOutputs});
  for (const Kernels* kernels : AvailableKernels()) {
    if (!kernels->fused) continue;
    for (const int threads : {1, 3}) {
      const auto got = RunOnce(graph, sequences,
                               {.threads = threads, .outputs = kAllOutputs, .kernels = kernels});
      EXPECT_EQ(got, want) << kernels->name << ", " << threads << " threads";
    }
  }
  const auto logits = RunOnce(graph, sequences, {.outputs = {"logits"}});
  EXPECT_EQ(logits[0], want[1]) << "pooling sunk";
  std::vector<std::vector<float>> joined(want.size());
  for (const Sequence& s : sequences) {
    const auto alone = RunOnce(graph, {s}, {.outputs = kAllOutputs});
    for (size_t o = 0; o < alone.size(); ++o) {
      joined[o].insert(joined[o].end(), alone[o].begin(), alone[o].end());
    }
  }
  EXPECT_EQ(joined, want) << "one by one";
}

INSTANTIATE_TEST_SUITE_P(Weights, SessionOfType,
                         testing::Values(DType::kF32, DType::kF16, DType::kI8, DType::kI8Group,
                                         DType::kI4Group),
                         [](const auto& param) { return std::string(DTypeName(param.param)); });

// The graph with a share of zero blocks in every linear, dense or block-sparse.
Graph WithZeroBlocks(Layout layout) {
  Graph graph = TestGraph().Encoder();
  std::minstd_rand bits(3);
  for (Node& node : graph.nodes) {
    if (node.op != OpKind::kLinear) continue;
    Tensor& weight = node.weights[0].tensor;
    std::vector<float> values = weight.ToFloats();
    const auto inputs = static_cast<size_t>(weight.dim(1));
    std::vector<bool> kept(64);
    for (size_t i = 0; i < kept.size(); ++i) kept[i] = bits() % 2 == 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t n = i / inputs, k = i % inputs;
      if (!kept[(n / kPanelWidth * 8 + k / kBlockInputs) % kept.size()]) values[i] = 0;
    }
    weight = Tensor::FromFloats(weight.shape(), values).InLayout(layout);
  }
  return graph;
}

TEST(Session, GivesTheBitsOfTheDenseModelWithBlockSparseWeights) {
  const Graph dense = WithZeroBlocks(Layout::kPanels);
  const Graph sparse = WithZeroBlocks(Layout::kBlockSparse);
  const std::vector<Sequence> sequences = MakeSequences(kLengths);
  for (const Kernels* kernels : AvailableKernels()) {
    for (const int threads : {1, 3}) {
      const SessionOptions options{.threads = threads, .outputs = kAllOutputs, .kernels = kernels};
      EXPECT_EQ(RunOnce(sparse, sequences, options), RunOnce(dense, sequences, options))
          << kernels->name;
    }
  }
  const auto macs = [&](const Graph& graph) {
    Result<Session> session = Session::Create(graph);
    EXPECT_TRUE(session->Run(ToBatch(sequences)).has_value());
    return session->macs();
  };
  EXPECT_LT(macs(sparse), 0.9 * macs(dense));
}

TEST(Session, SharesAModelBetweenThreads) {
  const Graph graph = TestGraph(DType::kI8).Encoder();
  const std::vector<Sequence> sequences = MakeSequences(kLengths);
  const auto want = RunOnce(graph, sequences, {});
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      Result<Session> session = Session::Create(graph, {.threads = 1 + static_cast<int>(t % 2)});
      for (int round = 0; round < 5; ++round) {
        if (!session->Run(ToBatch(sequences)).has_value() || Values(*session) != want) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

TEST(Session, ReusesItsArena) {
  const Graph graph = TestGraph().Encoder();
  Result<Session> session = Session::Create(graph);
  ASSERT_TRUE(session->Run(ToBatch(MakeSequences({64, 64}))).has_value());
  const size_t bytes = session->arena_bytes();
  ASSERT_TRUE(session->Run(ToBatch(MakeSequences({3, 64}))).has_value());
  EXPECT_EQ(session->arena_bytes(), bytes);
}

TEST(Session, CountsWhatItMultiplies) {
  const Graph graph = TestGraph().Encoder();
  Result<Session> all = Session::Create(graph, {.outputs = {"last_hidden_state"}});
  Result<Session> logits = Session::Create(graph, {.outputs = {"logits"}, .profile = true});
  ASSERT_TRUE(all->Run(ToBatch(MakeSequences({32}))).has_value());
  ASSERT_TRUE(logits->Run(ToBatch(MakeSequences({32}))).has_value());
  const GraphCost cost = ComputeCost(graph, {.tokens = 32, .sequences = 1});
  EXPECT_LT(logits->macs(), all->macs());
  EXPECT_LT(all->macs(), cost.total.macs);
  double seconds = 0, macs = 0;
  for (const StepProfile& step : logits->profile()) {
    seconds += step.seconds;
    macs += step.macs;
  }
  EXPECT_GT(seconds, 0);
  EXPECT_DOUBLE_EQ(macs, logits->macs());
}

TEST(Session, NamesWhatIsWrong) {
  const Graph graph = TestGraph().Encoder();
  EXPECT_THAT(Session::Create(graph, {.outputs = {"nonsense"}}).error().message(),
              HasSubstr("last_hidden_state, logits, embedding"));
  Result<Session> session = Session::Create(graph);
  const auto message = [&](const Batch& batch) {
    const Status status = session->Run(batch);
    return status.has_value() ? std::string("ran") : status.error().message();
  };
  EXPECT_THAT(message({}), HasSubstr("no sequence"));
  Batch empty, high, negative, types, long_one;
  empty.Add(std::vector<int32_t>{1});
  empty.Add(std::vector<int32_t>{});
  EXPECT_THAT(message(empty), HasSubstr("sequence 1 of the batch is empty"));
  high.Add(std::vector<int32_t>{1, 2});
  high.Add(std::vector<int32_t>{3, 50});
  EXPECT_THAT(message(high), HasSubstr("sequence 1 of the batch has token id 50 at token 1"));
  negative.Add(std::vector<int32_t>{-1});
  EXPECT_THAT(message(negative), HasSubstr("token id -1"));
  types.Add(std::vector<int32_t>{1}, std::vector<int32_t>{2});
  EXPECT_THAT(message(types), HasSubstr("token type id 2"));
  long_one.Add(std::vector<int32_t>(65, 1));
  EXPECT_THAT(message(long_one), HasSubstr("65 tokens, the model takes at most 64"));
}

}  // namespace
}  // namespace thimble
