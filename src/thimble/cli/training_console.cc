#include "thimble/cli/training_console.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "thimble/cli/console.h"

namespace thimble::cli {
namespace {

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string TimeText(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(seconds));
  char text[64];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%lld h %02lld min", static_cast<long long>(s / 3600),
                  static_cast<long long>(s / 60 % 60));
  } else if (s >= 60) {
    std::snprintf(text, sizeof text, "%lld min %02lld s", static_cast<long long>(s / 60),
                  static_cast<long long>(s % 60));
  } else {
    std::snprintf(text, sizeof text, "%lld s", static_cast<long long>(s));
  }
  return text;
}

// JSON has no infinities.
nlohmann::json Number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace

TrainingConsole::TrainingConsole(std::string log_path, bool resume, const EnergyModel& energy)
    : path_(std::move(log_path)),
      resume_(resume),
      terminal_(isatty(STDERR_FILENO) == 1),
      energy_(energy),
      meter_(energy) {}

TrainingConsole::~TrainingConsole() {
  Wipe();
  if (file_ != nullptr) std::fclose(file_);
}

Status TrainingConsole::Open() {
  file_ = std::fopen(path_.c_str(), resume_ ? "a" : "w");
  if (file_ == nullptr) return IoError(path_ + ": " + std::strerror(errno));
  return {};
}

Status TrainingConsole::Log(const nlohmann::json& line) {
  const std::string text = line.dump() + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    return IoError(path_ + ": " + std::strerror(errno));
  }
  return {};
}

void TrainingConsole::Wipe() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void TrainingConsole::Draw(const train::StepReport& report) {
  if (!terminal_ || report.elapsed < next_draw_) return;
  next_draw_ = report.elapsed + 0.2;
  constexpr size_t kWidth = 20;
  const double share = report.total_steps > 0 ? static_cast<double>(report.step) /
                                                    static_cast<double>(report.total_steps)
                                              : 0;
  std::string bar(static_cast<size_t>(std::clamp(share, 0.0, 1.0) * kWidth), '#');
  bar.resize(kWidth, '.');
  std::fprintf(stderr, "\r\033[K[%s] epoch %s  loss %s  %s%s tokens/s  %s left", bar.c_str(),
               Fixed(report.epoch, 2).c_str(), Fixed(mean_loss_, 4).c_str(),
               metric_.empty() ? "" : (metric_ + "  ").c_str(), CountText(mean_rate_).c_str(),
               TimeText(report.remaining).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

Status TrainingConsole::OnStep(const train::StepReport& report) {
  const double rate = report.tokens / std::max(report.seconds, 1e-9);
  const double keep = report.step == 1 || mean_rate_ == 0 ? 0.0 : 0.95;
  if (!report.skipped) mean_loss_ = keep * mean_loss_ + (1 - keep) * report.loss;
  mean_rate_ = keep * mean_rate_ + (1 - keep) * rate;
  if (report.skipped) {
    Wipe();
    Note("step " + std::to_string(report.step) +
         ": the gradient is not finite; the step was skipped");
  }
  Draw(report);
  return Log({{"event", "step"},
              {"step", report.step},
              {"epoch", report.epoch},
              {"loss", Number(report.loss)},
              {"lr", report.rate},
              {"gradient_norm", Number(report.gradient_norm)},
              {"tokens", report.tokens},
              {"seconds", report.seconds},
              {"exchange_seconds", report.exchange_seconds},
              {"skipped", report.skipped}});
}

Status TrainingConsole::OnEvaluation(const train::Evaluation& evaluation, int64_t step,
                                     double epoch, bool best) {
  nlohmann::json metrics = nlohmann::json::object();
  for (const auto& [name, value] : evaluation.metrics) metrics[name] = Number(value);
  if (!evaluation.metrics.empty()) {
    metric_ = evaluation.metrics[0].first + " " + Fixed(evaluation.metrics[0].second, 4);
  }
  Wipe();
  Note("epoch " + Fixed(epoch, 2) + ": loss " + Fixed(mean_loss_, 4) + ", validation " + metric_ +
       (best ? ", best so far" : "") + ", " + CountText(mean_rate_) + " tokens/s");
  return Log({{"event", "evaluation"},
              {"step", step},
              {"epoch", epoch},
              {"metrics", metrics},
              {"best", best},
              {"account", Account()}});
}

Usage TrainingConsole::Used() {
  Usage usage = earlier_;
  usage += meter_.Read();
  return usage;
}

nlohmann::json TrainingConsole::Account() {
  const Usage usage = Used();
  const std::string source =
      usage.measured ? "measured (RAPL: " + meter_.Counters() + "; the whole machine)"
                     : "estimate (" + Fixed(energy_.watts_per_core, 2) + " W per busy core)";
  return {{"wall_s", usage.wall_seconds}, {"cpu_s", usage.cpu_seconds},
          {"energy_j", usage.joules},     {"energy_source", source},
          {"co2_g", Co2(usage, energy_)}, {"grid_co2_g_per_kwh", energy_.grid_co2}};
}

Result<std::string> TrainingConsole::Save() {
  const long position = std::ftell(file_);
  if (position < 0) return IoError(path_ + ": " + std::strerror(errno));
  const Usage usage = Used();
  return nlohmann::json{{"log_bytes", position},
                        {"wall_s", usage.wall_seconds},
                        {"cpu_s", usage.cpu_seconds},
                        {"energy_j", usage.joules},
                        {"measured", usage.measured}}
      .dump();
}

Status TrainingConsole::OnResume(const std::string& saved, int64_t step) {
  try {
    const nlohmann::json state = nlohmann::json::parse(saved);
    earlier_ = {.wall_seconds = state.at("wall_s"),
                .cpu_seconds = state.at("cpu_s"),
                .joules = state.at("energy_j"),
                .measured = state.at("measured")};
    if (ftruncate(fileno(file_), state.at("log_bytes").get<long>()) != 0 ||
        std::fseek(file_, 0, SEEK_END) != 0) {
      return IoError(path_ + ": " + std::strerror(errno));
    }
  } catch (const nlohmann::json::exception&) {
    return InvalidData("the checkpoint does not say how far the log went");
  }
  Note("going on from step " + std::to_string(step));
  return {};
}

Status TrainingConsole::CheckInterrupt() {
  Status status = cli::CheckInterrupt();
  if (status.has_value()) return status;
  return Error(ErrorCode::kInterrupted,
               "interrupted; the same call with --resume goes on from the checkpoint");
}

Status TrainingConsole::Summary(const nlohmann::json& summary) {
  nlohmann::json line = summary;
  line["event"] = "end";
  return Log(line);
}

std::string TrainingConsole::Human(const nlohmann::json& summary) {
  std::string text = "trained " + Fixed(summary["epochs"], 2) + " epochs, " +
                     std::to_string(summary["steps"].get<int64_t>()) + " steps in " +
                     TimeText(summary["seconds"]) + ", " + CountText(summary["tokens_per_s"]) +
                     " tokens/s\n";
  const nlohmann::json& account = summary["account"];
  text += "used " + TimeText(account["cpu_s"]) + " of processor time, " +
          Fixed(account["energy_j"].get<double>() / 3600, 2) + " Wh and " +
          Fixed(account["co2_g"], 2) +
          " g of CO2; energy: " + account["energy_source"].get<std::string>() + "\n";
  for (const char* split : {"valid", "test"}) {
    if (!summary.contains(split)) continue;
    text += std::string(split) + ":";
    for (const auto& [name, value] : summary[split].items()) {
      text += "  " + name + " " + Fixed(value, 4);
    }
    text += "\n";
  }
  return text + "wrote " + summary["output"].get<std::string>() + "\n";
}

}  // namespace thimble::cli
