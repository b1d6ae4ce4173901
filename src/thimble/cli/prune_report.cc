#include "thimble/cli/prune_report.h"

#include <algorithm>
#include <utility>

#include "thimble/base/format.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

// From which on it is said: processors that others keep busy, and how much the dense model's time changes.
constexpr double kMuchLoad = 0.25, kMuchChange = 1.15;

// Milliseconds of the dense model, at different times.
std::pair<double, double> DenseRange(const Json& report) {
  double least = report["table"]["dense_ms"], most = least;
  for (const Json& row : report["targets"]) {
    least = std::min(least, row["dense_p50_ms"].get<double>());
    most = std::max(most, row["dense_p50_ms"].get<double>());
  }
  return {least, most};
}

}  // namespace

std::string TargetName(double target) { return FormatNumber("%gx", target); }

std::string MissedTargets(const Json& report) {
  std::string names;
  for (const Json& row : report["targets"]) {
    if (row["kept_promise"].get<bool>()) continue;
    names += (names.empty() ? "" : ", ") + TargetName(row["target"]);
  }
  return names;
}

std::string PruneTable(const Json& report, const std::string& folder) {
  std::string text = "target  measured      ms   dense    kept";
  const bool scored = report.contains("dense");
  if (scored) text += "  " + report["dense"]["metric"].get<std::string>();
  text += "\n";
  if (scored) {
    text += "dense                " + FormatNumber("%8.3f", report["table"]["dense_ms"]) +
            "         " + FormatNumber("%6.1f %%", 100.0) +
            FormatNumber("  %.4f\n", report["dense"]["score"]);
  }
  for (const Json& row : report["targets"]) {
    double units = 0, all = 0;
    for (const auto& [name, size] : row["sizes"].items()) {
      units += size[0].get<double>() / size[1].get<double>();
      all += 1;
    }
    text += FormatNumber("%5.3gx", row["target"]) + FormatNumber("  %7.2fx", row["speedup"]) +
            FormatNumber("%9.3f", row["p50_ms"]) + FormatNumber("%8.3f", row["dense_p50_ms"]) +
            FormatNumber("%6.1f %%", 100 * units / std::max(all, 1.0));
    if (row.contains("score")) text += FormatNumber("  %.4f", row["score"]);
    text += row["kept_promise"].get<bool>() ? "\n" : "  promise not kept\n";
  }
  const auto [least, most] = DenseRange(report);
  if (most > kMuchChange * least) {
    text += "the dense model took from " + FormatNumber("%.3f", least) + " to " +
            FormatNumber("%.3f", most) +
            " ms in the course of this: the machine is shared, and speedups are as uncertain\n";
  }
  const double others = report.value("other_load", 0.0);
  if (others > kMuchLoad) {
    text += "other programs kept " + FormatNumber("%.1f", others) +
            " processors busy: measure again when the machine is quiet\n";
  }
  return text + "written to " + folder + "\n";
}

}  // namespace thimble::cli
