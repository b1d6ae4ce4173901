#include "thimble/train/process_group.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <numeric>

#include "thimble/base/random.h"
#include "thimble/train/test_ranks.h"

namespace thimble::train {
namespace {

std::vector<float> Values(int rank, size_t count) {
  Random random(5, static_cast<uint64_t>(rank));
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

at::Tensor TensorOf(std::vector<float>& values) {
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size())});
}

// The order written out for few ranks: what a change of PairwiseOrder would break.
TEST(Collective, AddsNeighboursFirst) {
  std::vector<std::string> parts{"a", "b", "c", "d", "e"};
  PairwiseOrder(parts.size(),
                [&](size_t i, size_t j) { parts[i] = "(" + parts[i] + "+" + parts[j] + ")"; });
  EXPECT_EQ(parts[0], "(((a+b)+(c+d))+e)");
}

TEST(ProcessGroup, SumsInThePromisedOrder) {
  for (const int size : {2, 3, 5}) {
    for (const size_t count : {1, 15, 16, 17, 1000}) {
      std::vector<std::vector<float>> parts;
      for (int r = 0; r < size; ++r) parts.push_back(Values(r, count));
      PairwiseOrder(parts.size(), [&](size_t i, size_t j) {
        for (size_t k = 0; k < count; ++k) parts[i][k] += parts[j][k];
      });
      OnRanks(size, [&](ProcessGroup& group) {
        std::vector<float> values = Values(group.rank(), count);
        at::Tensor tensor = TensorOf(values);
        ASSERT_TRUE(group.Sum(tensor).has_value());
        EXPECT_EQ(values, parts[0]) << size << " ranks, " << count << " values";
      });
    }
  }
}

TEST(ProcessGroup, SumsTensorsThatAreNotInOnePiece) {
  OnRanks(2, [](ProcessGroup& group) {
    at::Tensor columns = at::arange(6, at::kFloat).view({2, 3}).t();
    ASSERT_TRUE(group.Sum(columns).has_value());
    EXPECT_TRUE(columns.equal(2 * at::arange(6, at::kFloat).view({2, 3}).t()));
  });
}

TEST(ProcessGroup, SumsDoubles) {
  OnRanks(3, [](ProcessGroup& group) {
    std::vector<double> values(3, 0.0);
    values[static_cast<size_t>(group.rank())] = 0.1 * (group.rank() + 1);
    ASSERT_TRUE(group.Sum(std::span(values)).has_value());
    EXPECT_EQ(values, (std::vector<double>{0.1 * 1, 0.1 * 2, 0.1 * 3}));
  });
}

TEST(ProcessGroup, BroadcastsWhatRankZeroHas) {
  for (const size_t count : {1, 33, 4096}) {
    OnRanks(3, [&](ProcessGroup& group) {
      std::string text(count, static_cast<char>('a' + group.rank()));
      ASSERT_TRUE(group.Broadcast(std::as_writable_bytes(std::span(text))).has_value());
      EXPECT_EQ(text, std::string(count, 'a'));
    });
  }
}

TEST(ProcessGroup, WaitsForTheSlowest) {
  std::atomic<int> arrived = 0;
  OnRanks(3, [&](ProcessGroup& group) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50 * group.rank()));
    ++arrived;
    ASSERT_TRUE(group.Barrier().has_value());
    EXPECT_EQ(arrived, 3);
  });
}

TEST(ProcessGroup, FindsTheFirstRankThatDiffers) {
  for (const int odd : {-1, 1, 2}) {
    OnRanks(3, [&](ProcessGroup& group) {
      const std::string text = group.rank() == odd ? "others" : "same";
      const auto differs = FirstToDiffer(group, std::as_bytes(std::span(text)));
      ASSERT_TRUE(differs.has_value());
      EXPECT_EQ(differs->value_or(-1), odd);
    });
  }
}

TEST(ProcessGroup, NamesTheRankThatIsGone) {
  std::atomic<int> told = 0, named = 0;
  OnRanks(3, [&](ProcessGroup& group) {
    std::vector<float> values(100000, 1.0f);
    at::Tensor tensor = TensorOf(values);
    ASSERT_TRUE(group.Sum(tensor).has_value());
    if (group.rank() == 1) return;
    const Status status = group.Sum(tensor);
    ASSERT_FALSE(status.has_value());
    if (!group.FirstToFail()) return;
    ++told;
    if (status.error().message().starts_with("rank 1 of 3 is gone")) ++named;
  });
  EXPECT_EQ(told, 1);
  EXPECT_EQ(named, 1);
}

TEST(ProcessGroup, GivesUpASilentRank) {
  std::atomic<bool> over = false;
  OnRanks(
      2,
      [&](ProcessGroup& group) {
        std::vector<double> values{1};
        ASSERT_TRUE(group.Sum(std::span(values)).has_value());
        if (group.rank() == 1) {
          while (!over) std::this_thread::sleep_for(std::chrono::milliseconds(10));
          return;
        }
        const Status status = group.Sum(std::span(values));
        over = true;
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().message(), "rank 1 of 2 has been silent for 2 s");
      },
      2);
}

// A port that was free a moment ago.
uint16_t FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

TEST(ProcessGroup, MeetsAtAnAddress) {
  const uint16_t port = FreePort();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([rank, port] {
      const auto group = ProcessGroup::Join(
          {.rank = rank, .size = 2, .address = "127.0.0.1", .port = port}, kTestTimeoutSeconds);
      ASSERT_TRUE(group.has_value()) << group.error().message();
      double sum = rank + 1;
      ASSERT_TRUE((*group)->Sum(std::span(&sum, 1)).has_value());
      EXPECT_EQ(sum, 3);
      EXPECT_TRUE((*group)->Barrier().has_value());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ProcessGroup, SaysWhereItWaitedInVain) {
  const auto group =
      ProcessGroup::Join({.rank = 1, .size = 2, .address = "127.0.0.1", .port = FreePort()}, 1);
  ASSERT_FALSE(group.has_value());
  EXPECT_TRUE(
      group.error().message().starts_with("rank 1 of 2 cannot meet the others at 127.0.0.1:"))
      << group.error().message();
}

// What launchers set, and nothing else of theirs.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& variables) {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
          "PMI_RANK", "PMI_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "MASTER_ADDR",
          "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"}) {
      ::unsetenv(name);
    }
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    names_ = variables;
  }
  ~Environment() {
    for (const auto& [name, value] : names_) ::unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::string> names_;
};

TEST(RankPlace, ComesFromLaunchers) {
  {
    const Environment none({});
    EXPECT_FALSE(RankPlaceFromEnvironment()->has_value());
  }
  {
    const Environment one({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}});
    EXPECT_FALSE(RankPlaceFromEnvironment()->has_value());
  }
  {
    const Environment torchrun({{"RANK", "1"},
                                {"WORLD_SIZE", "2"},
                                {"MASTER_ADDR", "node7"},
                                {"MASTER_PORT", "1234"},
                                {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                {"TORCHELASTIC_RESTART_COUNT", "3"}});
    const RankPlace place = **RankPlaceFromEnvironment();
    EXPECT_EQ(place.rank, 1);
    EXPECT_EQ(place.size, 2);
    EXPECT_EQ(place.address, "node7");
    EXPECT_EQ(place.port, 1234);
    EXPECT_TRUE(place.launcher_listens);
    EXPECT_EQ(place.prefix, "/worker/attempt_3");
  }
  {
    const Environment mpirun({{"OMPI_COMM_WORLD_RANK", "2"},
                              {"OMPI_COMM_WORLD_SIZE", "4"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}});
    const RankPlace place = **RankPlaceFromEnvironment();
    EXPECT_EQ(place.rank, 2);
    EXPECT_EQ(place.address, "127.0.0.1");
    EXPECT_FALSE(place.launcher_listens);
  }
}

TEST(RankPlace, SaysWhatIsMissing) {
  {
    const Environment machines({{"OMPI_COMM_WORLD_RANK", "2"},
                                {"OMPI_COMM_WORLD_SIZE", "4"},
                                {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
    EXPECT_NE(RankPlaceFromEnvironment().error().message().find("MASTER_ADDR"), std::string::npos);
  }
  {
    const Environment rank({{"RANK", "2"}, {"WORLD_SIZE", "2"}});
    EXPECT_NE(RankPlaceFromEnvironment().error().message().find("RANK='2'"), std::string::npos);
  }
  {
    const Environment port(
        {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "http"}});
    EXPECT_NE(RankPlaceFromEnvironment().error().message().find("MASTER_PORT='http'"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace thimble::train
