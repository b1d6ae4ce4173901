#include "thimble/compress/budget_search.h"

#include <gtest/gtest.h>

#include <limits>

#include "thimble/base/random.h"

namespace thimble::compress {
namespace {

std::vector<Levels> RandomStructures(Random& random, bool whole_seconds) {
  std::vector<Levels> structures(2 + random.Below(4));
  for (Levels& levels : structures) {
    levels.resize(2 + random.Below(4));
    for (Level& level : levels) {
      level.seconds = whole_seconds ? static_cast<double>(random.Below(9)) : random.Uniform();
      level.cost = random.Uniform();
    }
  }
  return structures;
}

double CostOf(const std::vector<Levels>& structures, const std::vector<double>& c,
              const Profile& p) {
  double cost = 0;
  for (size_t s = 0; s < p.size(); ++s) cost += c[s] * structures[s][p[s]].cost;
  return cost;
}

// Calls `visit` with every profile.
template <class Visit>
void Enumerate(const std::vector<Levels>& structures, const Visit& visit) {
  Profile p(structures.size(), 0);
  while (true) {
    visit(p);
    size_t s = 0;
    while (s < p.size() && ++p[s] == structures[s].size()) p[s++] = 0;
    if (s == p.size()) return;
  }
}

std::vector<double> RandomCoefficients(Random& random, size_t count) {
  std::vector<double> c(count);
  for (double& x : c) x = random.Uniform();
  return c;
}

// Seconds that are whole buckets: no rounding, so the dynamic program has to find the optimum itself.
TEST(SolveBudget, IsTheBestOfAllProfiles) {
  Random random(1);
  int solved = 0;
  for (int round = 0; round < 500; ++round) {
    const std::vector<Levels> structures = RandomStructures(random, true);
    const std::vector<double> c = RandomCoefficients(random, structures.size());
    const double budget = static_cast<double>(1 + random.Below(30));
    double best = std::numeric_limits<double>::infinity();
    Enumerate(structures, [&](const Profile& p) {
      if (SecondsOf(structures, p) <= budget) best = std::min(best, CostOf(structures, c, p));
    });
    const Result<Profile> found = SolveBudget(structures, c, budget, static_cast<size_t>(budget));
    ASSERT_EQ(found.has_value(), best < std::numeric_limits<double>::infinity());
    if (!found) continue;
    ++solved;
    EXPECT_LE(SecondsOf(structures, *found), budget);
    EXPECT_NEAR(CostOf(structures, c, *found), best, 1e-12);
  }
  EXPECT_GT(solved, 300);
}

// Any seconds: never over the budget, and no worse than the best of a budget that is smaller by what rounding can hide.
TEST(SolveBudget, NeverExceedsTheBudget) {
  Random random(2);
  for (int round = 0; round < 300; ++round) {
    const std::vector<Levels> structures = RandomStructures(random, false);
    const std::vector<double> c = RandomCoefficients(random, structures.size());
    const double budget = 0.3 + 2 * random.Uniform();
    constexpr size_t kBuckets = 500;
    const Result<Profile> found = SolveBudget(structures, c, budget, kBuckets);
    if (!found) continue;
    EXPECT_LE(SecondsOf(structures, *found), budget);
    const double smaller = budget * (1 - static_cast<double>(structures.size()) / kBuckets);
    double best = std::numeric_limits<double>::infinity();
    Enumerate(structures, [&](const Profile& p) {
      if (SecondsOf(structures, p) <= smaller) best = std::min(best, CostOf(structures, c, p));
    });
    EXPECT_LE(CostOf(structures, c, *found), best + 1e-12);
  }
}

TEST(SolveBudget, MoreTimeNeverCostsMore) {
  Random random(3);
  for (int round = 0; round < 50; ++round) {
    const std::vector<Levels> structures = RandomStructures(random, true);
    const std::vector<double> ones(structures.size(), 1.0);
    double last = std::numeric_limits<double>::infinity();
    for (double budget = 1; budget < 40; ++budget) {
      const Result<Profile> found =
          SolveBudget(structures, ones, budget, static_cast<size_t>(budget));
      if (!found) continue;
      EXPECT_LE(CostOf(structures, ones, *found), last + 1e-12);
      last = CostOf(structures, ones, *found);
    }
  }
}

TEST(SolveBudget, SaysWhenNothingFits) {
  const std::vector<Levels> structures = {{{2, 0}, {1, 1}}};
  const Result<Profile> found = SolveBudget(structures, std::vector<double>{1}, 0.5);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), ErrorCode::kLimitNotMet);
}

// The prior costs are wrong about which structure matters; the loss knows.
TEST(SearchBudget, FollowsTheLossWhereThePriorIsWrong) {
  std::vector<Levels> structures(6, Levels{{1, 0}, {0, 1}});
  const auto loss = [](const Profile& p, double) -> Result<double> {
    double sum = 0;
    for (size_t s = 0; s < p.size(); ++s) sum += p[s] == 1 ? static_cast<double>(s * s) : 0;
    return sum;
  };
  const Result<Found> found = SearchBudget(structures, 3, loss, {.random = 10, .mutations = 200});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->profile, (Profile{1, 1, 1, 0, 0, 0}));
  EXPECT_EQ(found->loss, 5);
}

TEST(SearchBudget, RepeatsWithItsSeedAndIsNoWorseThanEqualCoefficients) {
  Random random(4);
  const std::vector<Levels> structures = RandomStructures(random, true);
  const auto loss = [](const Profile& p, double) -> Result<double> {
    double sum = 0;
    for (size_t s = 0; s < p.size(); ++s) sum += static_cast<double>((p[s] + 3 * s) % 5);
    return sum;
  };
  const Result<Found> a = SearchBudget(structures, 20, loss, {.seed = 9});
  const Result<Found> b = SearchBudget(structures, 20, loss, {.seed = 9});
  ASSERT_TRUE(a.has_value() && b.has_value());
  EXPECT_EQ(a->profile, b->profile);
  const Result<Profile> equal =
      SolveBudget(structures, std::vector<double>(structures.size(), 1.0), 20);
  ASSERT_TRUE(equal.has_value());
  EXPECT_LE(a->loss, *loss(*equal, 0));
}

// A loss that is not told exactly where it is no better than the best so far changes nothing.
TEST(SearchBudget, NeedsNoLossesThatAreNoBetter) {
  Random random(6);
  const std::vector<Levels> structures = RandomStructures(random, true);
  int cut = 0;
  const auto exact = [](const Profile& p, double) -> Result<double> {
    double sum = 0;
    for (size_t s = 0; s < p.size(); ++s) sum += static_cast<double>((p[s] + 3 * s) % 7);
    return sum;
  };
  const auto bounded = [&](const Profile& p, double limit) -> Result<double> {
    TRY(const double value, exact(p, limit));
    if (value < limit) return value;
    ++cut;
    return std::numeric_limits<double>::infinity();
  };
  for (const double budget : {5, 10, 20, 40}) {
    const Result<Found> a = SearchBudget(structures, budget, exact, {.seed = 3});
    const Result<Found> b = SearchBudget(structures, budget, bounded, {.seed = 3});
    ASSERT_EQ(a.has_value(), b.has_value());
    if (!a) continue;
    EXPECT_EQ(a->profile, b->profile);
    EXPECT_EQ(a->loss, b->loss);
    EXPECT_EQ(a->coefficients, b->coefficients);
  }
  EXPECT_GT(cut, 0);
}

TEST(UniformProfile, TakesOneShareOfEveryStructure) {
  const std::vector<Levels> structures = {{{8, 0}, {4, 0}, {2, 0}, {0, 0}},
                                          {{4, 0}, {3, 0}, {2, 0}, {0, 0}},
                                          {{0, 0}, {0, 0}}};  // costs no time: stays whole
  const auto at = [&](double budget) { return *UniformProfile(structures, budget); };
  EXPECT_EQ(at(12), (Profile{0, 0, 0}));
  EXPECT_EQ(at(11.9), (Profile{1, 1, 0}));  // at most three quarters
  EXPECT_EQ(at(6.9), (Profile{1, 2, 0}));   // a half
  EXPECT_EQ(at(5.9), (Profile{2, 3, 0}));   // a quarter
  EXPECT_EQ(at(0), (Profile{3, 3, 0}));
  EXPECT_FALSE(UniformProfile(structures, -1).has_value());
}

TEST(UniformProfile, NeverExceedsTheBudget) {
  Random random(5);
  for (int round = 0; round < 300; ++round) {
    const std::vector<Levels> structures = RandomStructures(random, false);
    const double budget = 3 * random.Uniform();
    const Result<Profile> uniform = UniformProfile(structures, budget);
    const std::vector<double> ones(structures.size(), 1.0);
    ASSERT_EQ(uniform.has_value(), SolveBudget(structures, ones, budget).has_value());
    if (!uniform) continue;
    EXPECT_LE(SecondsOf(structures, *uniform), budget);
  }
}

// Costs that favour the wrong profile under every coefficient: the dynamic program never gives the uniform one.
TEST(SearchBudget, IsNoWorseThanTheUniformProfile) {
  const std::vector<Levels> structures(2, Levels{{2, 0}, {1, 10}, {0, 11}});
  const auto loss = [](const Profile& p, double) -> Result<double> {
    return p == Profile{1, 1} ? 0 : 1;
  };
  const Result<Found> found = SearchBudget(structures, 2, loss, {.seed = 1});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->profile, (Profile{1, 1}));
  EXPECT_EQ(found->loss, 0);
}

TEST(SearchBudget, RefusesLossesThatAreNotFinite) {
  const std::vector<Levels> structures(2, Levels{{1, 0}, {0, 1}});
  const auto loss = [](const Profile&, double) -> Result<double> {
    return std::numeric_limits<double>::quiet_NaN();
  };
  const Result<Found> found = SearchBudget(structures, 1, loss, {.seed = 1});
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), ErrorCode::kInvalidData);
}

TEST(SearchBudget, GoesOnFromCoefficients) {
  const std::vector<Levels> structures(3, Levels{{1, 0}, {0, 1}});
  const auto loss = [](const Profile& p, double) -> Result<double> {
    return static_cast<double>(p[0]);
  };
  const std::vector<double> start = {1, 0.5, 0.5};
  const Result<Found> found =
      SearchBudget(structures, 1, loss, {.start = start, .random = 0, .mutations = 0});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->profile, (Profile{0, 1, 1}));
  EXPECT_EQ(found->coefficients, start);
  EXPECT_LE(found->evaluated, 2);
}

}  // namespace
}  // namespace thimble::compress
