#include "thimble/cli/program.h"

#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/base/closest_name.h"
#include "thimble/cli/console.h"

namespace thimble::cli {
namespace {

int ExitCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return 2;
    case ErrorCode::kLimitNotMet:
      return 3;
    case ErrorCode::kMismatch:
      return 4;
    case ErrorCode::kInterrupted:
      return 130;
    case ErrorCode::kNotFound:
    case ErrorCode::kIo:
    case ErrorCode::kInvalidData:
    case ErrorCode::kUnsupported:
    case ErrorCode::kResourceExhausted:
      return 1;
  }
  return 1;
}

std::string Usage(std::span<const Verb> verbs) {
  std::string text =
      "thimble fits transformers in a thimble: small models on edge devices.\n\n"
      "usage: thimble VERB [options]\n\n";
  for (const Verb& verb : verbs) {
    std::string name(verb.name);
    name.resize(12, ' ');
    text.append("  ").append(name).append(verb.summary).append("\n");
  }
  text +=
      "\nthimble VERB --help shows the options of a verb and an example; thimble --version the "
      "version.\n";
  return text;
}

Error UnknownVerb(std::string_view given, std::span<const Verb> verbs) {
  std::vector<std::string> names;
  for (const Verb& verb : verbs) names.emplace_back(verb.name);
  std::string message = "there is no verb '" + std::string(given) + "'";
  if (const auto guess = ClosestName(given, names)) message += ", did you mean '" + *guess + "'?";
  return InvalidArgument(message + " (thimble --help lists them)");
}

// Long names of the options of a verb, those in groups included.
std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  for (const CLI::App* group : app.get_subcommands({})) {
    for (std::string& name : OptionNames(*group)) names.push_back(std::move(name));
  }
  return names;
}

// CLI11's message as one line, with a suggestion where an option is not known.
Error BadCall(const CLI::App& app, const CLI::ParseError& error,
              const std::vector<std::string>& arguments) {
  const std::vector<std::string> known = OptionNames(app);
  for (const std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    if (!name.starts_with("--") || name == "--") continue;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string message = "there is no option '" + name + "'";
    if (const auto guess = ClosestName(name, known)) message += ", did you mean '" + *guess + "'?";
    return InvalidArgument(message + " (thimble " + app.get_name() + " --help)");
  }
  std::string message = error.what();
  for (char& c : message) {
    if (c == '\n') c = ' ';
  }
  return InvalidArgument(message + " (thimble " + app.get_name() + " --help)");
}

Status RunVerb(const Verb& verb, std::vector<std::string> arguments) {
  if (verb.setup == nullptr)
    return RunInTrainProgram(verb.name, std::move(arguments)).In(verb.name);
  CLI::App app(std::string(verb.summary), std::string(verb.name));
  app.get_formatter()->column_width(34);
  app.footer("Example:\n  " + std::string(verb.example));
  const Action action = verb.setup(app);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    return PrintText(app.help("thimble"));
  } catch (const CLI::ParseError& error) {
    return BadCall(app, error, arguments).In(verb.name);
  }
  Status status = action();
  if (status.has_value() || status.error().message().empty()) return status;
  return std::move(status).error().In(verb.name);
}

Status Main(std::span<const Verb> verbs, std::vector<std::string> arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    return PrintText(Usage(verbs));
  }
  if (arguments[0] == "--version") return PrintText("thimble " THIMBLE_VERSION "\n");
  for (const Verb& verb : verbs) {
    if (arguments[0] == verb.name) {
      arguments.erase(arguments.begin());
      return RunVerb(verb, std::move(arguments));
    }
  }
  return UnknownVerb(arguments[0], verbs);
}

}  // namespace

Error RunInTrainProgram(std::string_view verb, std::vector<std::string> arguments) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string program = (self.parent_path() / kTrainProgram).string();
  if (error || access(program.c_str(), X_OK) != 0) {
    return NotFound(std::string("this is done by ") + kTrainProgram +
                    ", which is not beside this program (./run build train builds it; it needs "
                    "libtorch)");
  }
  // One pool of threads is enough; OpenBLAS makes its own where it is not told otherwise.
  setenv("OPENBLAS_NUM_THREADS", "1", /*overwrite=*/0);
  arguments.insert(arguments.begin(), {program, std::string(verb)});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return IoError(program + ": " + std::strerror(errno));
}

int RunProgram(std::span<const Verb> verbs, int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // `thimble ... | head` ends quietly, whatever our parent ignores
  WatchForInterrupt();
  try {
    const Status status = Main(verbs, {argv + 1, argv + argc});
    if (status.has_value()) return 0;
    if (!status.error().message().empty()) PrintError(status.error());
    return ExitCode(status.error().code());
  } catch (const std::bad_alloc&) {
    PrintError(ResourceExhausted("out of memory"));
    return 1;
  }
}

}  // namespace thimble::cli
