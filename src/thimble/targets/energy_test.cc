#include "thimble/targets/energy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace thimble {
namespace {

namespace fs = std::filesystem;
using ::testing::DoubleNear;
using ::testing::Ge;

class EnergyTest : public ::testing::Test {
 protected:
  EnergyTest() : folder_(fs::path(::testing::TempDir()) / "powercap") { fs::remove_all(folder_); }

  void Zone(const std::string& zone, const std::string& name, uint64_t range, uint64_t energy) {
    fs::create_directories(folder_ / zone);
    std::ofstream(folder_ / zone / "name") << name << "\n";
    std::ofstream(folder_ / zone / "max_energy_range_uj") << range << "\n";
    SetEnergy(zone, energy);
  }
  void SetEnergy(const std::string& zone, uint64_t energy) {
    std::ofstream(folder_ / zone / "energy_uj") << energy << "\n";
  }

  fs::path folder_;
};

TEST_F(EnergyTest, CountersAreAddedAndWrapAround) {
  Zone("intel-rapl:0", "package-0", 10'000'000, 9'000'000);
  Zone("intel-rapl:0:0", "core", 10'000'000, 0);
  Zone("intel-rapl:0:1", "dram", 10'000'000, 1'000'000);
  Zone("intel-rapl:1", "psys", 10'000'000, 0);
  Zone("intel-rapl-mmio:0", "package-0", 10'000'000, 0);
  UsageMeter meter({}, folder_.string());
  EXPECT_EQ(meter.Counters(), "package-0, dram");

  SetEnergy("intel-rapl:0", 1'000'000);    // 2 J, around the end of its range
  SetEnergy("intel-rapl:0:0", 5'000'000);  // part of the package
  SetEnergy("intel-rapl:0:1", 1'500'000);  // 0.5 J
  const Usage usage = meter.Read();
  EXPECT_TRUE(usage.measured);
  EXPECT_THAT(usage.joules, DoubleNear(2.5, 1e-9));

  SetEnergy("intel-rapl:0", 4'000'000);
  EXPECT_THAT(meter.Read().joules, DoubleNear(5.5, 1e-9));
}

TEST_F(EnergyTest, WithoutCountersProcessorTimeIsTheEstimate) {
  UsageMeter meter({.watts_per_core = 7}, folder_.string());
  volatile double sink = 0;
  Usage usage;
  do {
    for (int i = 0; i < 1'000'000; ++i) sink = sink + i;
    usage = meter.Read();
  } while (usage.cpu_seconds < 0.02);
  EXPECT_FALSE(usage.measured);
  EXPECT_EQ(meter.Counters(), "");
  EXPECT_DOUBLE_EQ(usage.joules, 7 * usage.cpu_seconds);
  EXPECT_THAT(usage.wall_seconds, Ge(0.001));
}

TEST_F(EnergyTest, UnreadableCountersAreNotThere) {
  Zone("intel-rapl:0", "package-0", 10, 0);
  fs::remove(folder_ / "intel-rapl:0" / "energy_uj");
  EXPECT_EQ(UsageMeter({}, folder_.string()).Counters(), "");
}

TEST(UsageTest, PartsAddUp) {
  Usage sum{.wall_seconds = 1, .cpu_seconds = 2, .joules = 3, .measured = true};
  sum += {.wall_seconds = 10, .cpu_seconds = 20, .joules = 30, .measured = true};
  EXPECT_TRUE(sum.measured);
  sum += {.wall_seconds = 100, .cpu_seconds = 200, .joules = 300, .measured = false};
  EXPECT_FALSE(sum.measured);
  EXPECT_DOUBLE_EQ(sum.wall_seconds, 111);
  EXPECT_DOUBLE_EQ(sum.cpu_seconds, 222);
  EXPECT_DOUBLE_EQ(sum.joules, 333);
}

TEST(UsageTest, CarbonDioxideIsEnergyTimesTheGrid) {
  EXPECT_DOUBLE_EQ(Co2({.joules = 3.6e6}, {.grid_co2 = 480}), 480);
}

}  // namespace
}  // namespace thimble
