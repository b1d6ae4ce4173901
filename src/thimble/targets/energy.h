// What a piece of work cost: time, processor time, energy and the carbon dioxide of that energy.
//
// Where the machine counts energy (RAPL, read from /sys/class/powercap), the count is taken; it is that of the
// whole machine, whoever used it. Elsewhere energy is estimated from the processor time of this process, and
// says so: an estimate never looks like a measurement.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thimble {

struct EnergyModel {
  // Of one busy logical core, without memory and cooling. 3.5 W is what Cloud Carbon Footprint gives for a virtual
  // processor of Amazon's cloud at full load.
  double watts_per_core = 3.5;
  // Grams of CO2 equivalent per kWh. 480 is the world's average of 2023 (Ember, Global Electricity Review 2024).
  double grid_co2 = 480;
};

struct Usage {
  double wall_seconds = 0;
  double cpu_seconds = 0;  // of this process and of those it waited for, all threads
  double joules = 0;
  bool measured = true;  // false: part of `joules` is EnergyModel's estimate

  // In sequence: times and energy add up.
  Usage& operator+=(const Usage& other);
};

// Grams.
double Co2(const Usage& usage, const EnergyModel& model);

// Counts from its construction. Not thread-safe.
class UsageMeter {
 public:
  // `powercap`: where the kernel shows the counters.
  explicit UsageMeter(const EnergyModel& model = {},
                      const std::string& powercap = "/sys/class/powercap");

  // Since construction. Counters wrap around in an hour or so of full load; whoever measures longer than that
  // reads at least so often.
  Usage Read();

  // The counters that are read, e.g. "package-0, dram"; empty where there are none.
  std::string Counters() const;

 private:
  struct Counter {
    std::string path, name;
    uint64_t range = 0, last = 0;  // microjoules
  };

  EnergyModel model_;
  std::vector<Counter> counters_;
  double wall_start_, cpu_start_;
  double joules_ = 0;
};

}  // namespace thimble
