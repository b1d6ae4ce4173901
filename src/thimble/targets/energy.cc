#include "thimble/targets/energy.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

namespace thimble {
namespace {

namespace fs = std::filesystem;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double CpuSeconds() {
  double seconds = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    for (const timeval& t : {usage.ru_utime, usage.ru_stime}) {
      seconds += static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    }
  }
  return seconds;
}

template <typename T>
std::optional<T> ReadFile(const fs::path& path) {
  T value{};
  std::ifstream file(path);
  if (file >> value) return value;
  return std::nullopt;
}

// Packages and their memory add up to what the machine's processors take; "core" and "uncore" are parts of a
// package, and "psys" holds the packages.
bool Counts(const std::string& name) { return name.starts_with("package") || name == "dram"; }

}  // namespace

Usage& Usage::operator+=(const Usage& other) {
  wall_seconds += other.wall_seconds;
  cpu_seconds += other.cpu_seconds;
  joules += other.joules;
  measured = measured && other.measured;
  return *this;
}

double Co2(const Usage& usage, const EnergyModel& model) {
  constexpr double kJoulesPerKwh = 3.6e6;
  return usage.joules / kJoulesPerKwh * model.grid_co2;
}

UsageMeter::UsageMeter(const EnergyModel& model, const std::string& powercap)
    : model_(model), wall_start_(Now()), cpu_start_(CpuSeconds()) {
  std::error_code error;
  for (const fs::directory_entry& zone : fs::directory_iterator(powercap, error)) {
    const fs::path energy = zone.path() / "energy_uj";
    const auto name = ReadFile<std::string>(zone.path() / "name");
    const auto range = ReadFile<uint64_t>(zone.path() / "max_energy_range_uj");
    const auto now = ReadFile<uint64_t>(energy);  // root alone may read it on most systems
    // The same counters appear a second time as "intel-rapl-mmio".
    const bool rapl = zone.path().filename().string().starts_with("intel-rapl:");
    if (rapl && name && range && now && Counts(*name)) {
      counters_.push_back({energy.string(), *name, *range, *now});
    }
  }
  std::ranges::sort(counters_, {}, &Counter::path);
}

Usage UsageMeter::Read() {
  Usage usage;
  usage.wall_seconds = Now() - wall_start_;
  usage.cpu_seconds = CpuSeconds() - cpu_start_;
  for (Counter& counter : counters_) {
    const auto now = ReadFile<uint64_t>(counter.path);
    if (!now) continue;
    const uint64_t used =
        *now >= counter.last ? *now - counter.last : *now + counter.range - counter.last;
    joules_ += 1e-6 * static_cast<double>(used);
    counter.last = *now;
  }
  usage.measured = !counters_.empty();
  usage.joules = usage.measured ? joules_ : model_.watts_per_core * usage.cpu_seconds;
  return usage;
}

std::string UsageMeter::Counters() const {
  std::string names;
  for (const Counter& counter : counters_) names += (names.empty() ? "" : ", ") + counter.name;
  return names;
}

}  // namespace thimble
