#include "thimble/pipeline/recipe.h"

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <initializer_list>

#include "thimble/base/closest_name.h"
#include "thimble/base/file.h"
#include "thimble/base/quote.h"

namespace thimble::pipeline {
namespace {

constexpr StepVerb kStepVerbs[] = {
#define STEP_VERB(name, input, output, flags) {name, StepInput::input, StepOutput::output, flags},
#include "thimble/pipeline/step_verbs.inc"
#undef STEP_VERB
};

using Names = std::vector<std::string>;

std::string Line(const toml::node& node) {
  return "line " + std::to_string(node.source().begin.line);
}

Error Unknown(const std::string& what, std::string_view given, const Names& known) {
  std::string message = "there is no " + what + " " + Quoted(given);
  if (const auto guess = ClosestName(given, known)) {
    return InvalidArgument(message + ", did you mean '" + *guess + "'?");
  }
  for (size_t i = 0; i < known.size(); ++i) message += (i == 0 ? " (" : ", ") + known[i];
  return InvalidArgument(message + (known.empty() ? "" : ")"));
}

// A table whose keys are all known.
Status CheckKeys(const toml::table& table, const std::string& what, const Names& known) {
  for (const auto& [key, node] : table) {
    if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
      return Unknown(what, key.str(), known).In(Line(node));
    }
  }
  return {};
}

Error WrongType(const toml::node& node, std::string_view key, const char* wanted) {
  return InvalidArgument(Line(node) + ": " + std::string(key) + " has to be " + wanted);
}

Status Read(const toml::table& table, std::string_view key, std::string& value) {
  const toml::node* node = table.get(key);
  if (node == nullptr) return {};
  const auto* text = node->as_string();
  if (text == nullptr || text->get().empty()) return WrongType(*node, key, "a text in quotes");
  value = text->get();
  return {};
}

Status Read(const toml::table& table, std::string_view key, bool& value) {
  const toml::node* node = table.get(key);
  if (node == nullptr) return {};
  const auto* flag = node->as_boolean();
  if (flag == nullptr) return WrongType(*node, key, "true or false");
  value = flag->get();
  return {};
}

// A number above zero, or zero too.
Status Read(const toml::table& table, std::string_view key, std::optional<double>& value,
            bool zero = false) {
  const toml::node* node = table.get(key);
  if (node == nullptr) return {};
  value = node->is_number() ? node->value<double>() : std::nullopt;
  if (!value || !std::isfinite(*value) || *value < 0 || (*value == 0 && !zero)) {
    return WrongType(*node, key, zero ? "a number that is not negative" : "a number above 0");
  }
  return {};
}

Status Read(const toml::table& table, std::string_view key, double& value) {
  std::optional<double> read;
  TRY_VOID(Read(table, key, read));
  value = read.value_or(value);
  return {};
}

Status Read(const toml::table& table, std::string_view key, int64_t& value) {
  const toml::node* node = table.get(key);
  if (node == nullptr) return {};
  const auto* number = node->as_integer();
  if (number == nullptr || number->get() < 1)
    return WrongType(*node, key, "a whole number above 0");
  value = number->get();
  return {};
}

Result<const toml::table*> Table(const toml::table& parent, std::string_view key) {
  static const toml::table empty;
  const toml::node* node = parent.get(key);
  if (node == nullptr) return &empty;
  if (node->as_table() == nullptr) return WrongType(*node, key, "a table");
  return node->as_table();
}

// A value as the command line has it; none for what no option takes.
std::optional<std::string> WordOf(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) {
    char text[32];
    std::snprintf(text, sizeof text, "%.12g", number->get());
    return text;
  }
  return std::nullopt;
}

Result<Names> Words(const toml::node& node, std::string_view key) {
  Names words;
  if (const auto* array = node.as_array()) {
    for (const toml::node& element : *array) {
      const auto word = WordOf(element);
      if (!word) return WrongType(element, key, "a list of texts or numbers");
      words.push_back(*word);
    }
  } else if (const auto word = WordOf(node)) {
    words.push_back(*word);
  }
  if (words.empty()) return WrongType(node, key, "a text, a number, or a list of them");
  return words;
}

Result<StepOptions> ReadOptions(const toml::table& table) {
  StepOptions options;
  for (const auto& [key, node] : table) {
    StepOption option{.name = std::string(key.str()),
                      .line = static_cast<int>(node.source().begin.line)};
    if (const auto* flag = node.as_boolean()) {
      if (!flag->get()) continue;
    } else {
      TRY(option.values, Words(node, key.str()));
    }
    for (const char* ours : {"output", "json", "resume", "o"}) {
      if (option.name == ours) {
        return InvalidArgument(Line(node) + ": " + option.name +
                               " is what compress itself says to every step; leave it out");
      }
    }
    options.push_back(std::move(option));
  }
  return options;
}

bool IsName(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

const char* DefaultOutput(StepOutput output) {
  switch (output) {
    case StepOutput::kModel:
      return "model.thimble";
    case StepOutput::kModels:
      return "models";
    case StepOutput::kFile:
      return "";
    case StepOutput::kNothing:
      return "";
  }
  return "";
}

Status ReadLimits(const toml::table& table, StepLimits& limits) {
  TRY_VOID(Read(table, "max-loss", limits.max_loss, /*zero=*/true));
  TRY_VOID(Read(table, "max-ms", limits.max_ms));
  return Read(table, "max-bytes", limits.max_bytes);
}

Result<Step> ReadStep(const toml::table& table) {
  Step step{.line = static_cast<int>(table.source().begin.line)};
  TRY_VOID(CheckKeys(table, "key of a step",
                     {"name", "verb", "inputs", "options", "try", "max-loss", "max-ms", "max-bytes",
                      "part", "output"}));
  std::string verb;
  TRY_VOID(Read(table, "verb", verb));
  if (verb.empty()) return InvalidArgument(Line(table) + ": a step needs a verb");
  step.verb = FindStepVerb(verb);
  if (step.verb == nullptr) {
    Names known;
    for (const StepVerb& v : kStepVerbs) known.emplace_back(v.name);
    return Unknown("verb for a step", verb, known).In(Line(*table.get("verb")));
  }
  step.name = verb;
  TRY_VOID(Read(table, "name", step.name));
  if (!IsName(step.name)) {
    return InvalidArgument(Line(table) + ": name " + Quoted(step.name) +
                           ": letters, digits, - and _ only");
  }
  if (const toml::node* inputs = table.get("inputs")) {
    TRY(step.inputs, Words(*inputs, "inputs"));
  } else if (step.verb->input == StepInput::kModel) {
    step.inputs = {"{model}"};
  }
  TRY(const toml::table* options, Table(table, "options"));
  TRY(step.options, ReadOptions(*options));
  if (const toml::node* tries = table.get("try")) {
    const auto* array = tries->as_array();
    if (array == nullptr || array->empty() || !array->is_homogeneous<toml::table>()) {
      return WrongType(*tries, "try", "a list of tables of options");
    }
    for (const toml::node& element : *array) {
      TRY(StepOptions one, ReadOptions(*element.as_table()));
      step.tries.push_back(std::move(one));
    }
  }
  TRY_VOID(ReadLimits(table, step.limits));
  TRY_VOID(Read(table, "part", step.part));
  step.output = DefaultOutput(step.verb->output);
  TRY_VOID(Read(table, "output", step.output));
  if (step.verb->output == StepOutput::kFile && step.output.empty()) {
    return InvalidArgument(Line(table) + ": " + verb + " writes a file: say output = its name");
  }
  if (step.output.find('/') != std::string::npos || step.output.starts_with('.')) {
    return InvalidArgument(Line(table) + ": output " + Quoted(step.output) +
                           " is a name, not a path");
  }
  const bool makes_model =
      step.verb->output == StepOutput::kModel || step.verb->output == StepOutput::kModels;
  if (!makes_model && (step.limits.max_loss || step.limits.max_ms || step.limits.max_bytes ||
                       step.part || !step.tries.empty())) {
    return InvalidArgument(Line(table) + ": " + verb +
                           " makes no model: it has no limits, try or part");
  }
  if (step.part && step.limits.max_loss) {
    return InvalidArgument(Line(table) + ": a part is not judged: max-loss has no meaning here");
  }
  return step;
}

// Every {name} is a file, a value, or written by an earlier step.
class NameCheck {
 public:
  explicit NameCheck(const Recipe& recipe) {
    for (const auto& file : recipe.files) names_.push_back(file.first);
    for (const auto& value : recipe.values) names_.push_back(value.first);
    if (!recipe.varied.empty()) names_.push_back(recipe.varied);
  }

  Status Check(const Step& step) {
    if (std::find(names_.begin(), names_.end(), step.name) != names_.end() ||
        step.name == "model") {
      return InvalidArgument("line " + std::to_string(step.line) + ": the name '" + step.name +
                             "' is taken; name the step otherwise");
    }
    for (const std::string& input : step.inputs) TRY_VOID(CheckText(input, step.line));
    TRY_VOID(CheckOptions(step.options));
    for (const StepOptions& options : step.tries) TRY_VOID(CheckOptions(options));
    if (step.verb->output != StepOutput::kNothing) names_.push_back(step.name);
    if (step.verb->output == StepOutput::kModel || step.verb->output == StepOutput::kModels) {
      if (!step.part) model_ = true;
    }
    return {};
  }

  bool model() const { return model_; }

 private:
  Status CheckOptions(const StepOptions& options) const {
    for (const StepOption& option : options) {
      for (const std::string& value : option.values) TRY_VOID(CheckText(value, option.line));
    }
    return {};
  }

  Status CheckText(const std::string& text, int line) const {
    const std::string place = "line " + std::to_string(line);
    const Result<std::string> checked =
        Substitute(text, [&](std::string_view name) -> Result<std::string> {
          if (name == "model") {
            if (model_) return std::string();
            return InvalidArgument("{model}: no step before this one makes a model");
          }
          if (std::find(names_.begin(), names_.end(), name) != names_.end()) return std::string();
          Names known = names_;
          known.emplace_back("model");
          return Unknown("file, step or value before this step named", name, known);
        });
    if (!checked) return Error(checked.error()).In(place);
    std::error_code error;
    if (text.find('{') == std::string::npos && text.find_first_of("/.") != std::string::npos &&
        std::filesystem::exists(text, error)) {
      return InvalidArgument(
          place + ": " + Quoted(text) +
          " is a file: name it in [files] and write {its name}, so that a change "
          "of it is noticed");
    }
    return {};
  }

  Names names_;
  bool model_ = false;
};

// The entry of that name, which a call gives anew.
Result<std::string*> Given(NamedTexts& known, std::string_view name, const char* what) {
  Names names;
  for (auto& [known_name, text] : known) {
    if (known_name == name) return &text;
    names.push_back(known_name);
  }
  return Unknown(what, name, names);
}

Status ReadFiles(const toml::table& table, const std::string& path, const NamedTexts& given,
                 Recipe& recipe) {
  TRY(const toml::table* files, Table(table, "files"));
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (const auto& [key, node] : *files) {
    std::string file;
    TRY_VOID(Read(*files, key.str(), file));
    if (!IsName(key.str()) || key.str() == "model") {
      return InvalidArgument(Line(node) + ": " + Quoted(key.str()) + " is no name for a file");
    }
    recipe.files.emplace_back(key.str(), (folder / file).string());
  }
  for (const auto& [name, file] : given) {
    TRY(std::string* const path_of, Given(recipe.files, name, "file in [files] named"));
    *path_of = file;
  }
  for (const auto& [name, file] : recipe.files) {
    std::error_code error;
    if (!std::filesystem::exists(file, error)) {
      return NotFound("[files] " + name + ": there is no " + file + " (--file " + name +
                      "=PATH says where it is)");
    }
  }
  return {};
}

Status CheckFree(const Recipe& recipe, const toml::node& node, std::string_view name) {
  if (!IsName(name) || name == "model" || recipe.File(name) || recipe.Value(name)) {
    return InvalidArgument(Line(node) + ": the name " + Quoted(name) + " is taken or none");
  }
  return {};
}

Status ReadValues(const toml::table& table, const NamedTexts& given, Recipe& recipe) {
  TRY(const toml::table* values, Table(table, "values"));
  for (const auto& [key, node] : *values) {
    TRY_VOID(CheckFree(recipe, node, key.str()));
    const auto word = WordOf(node);
    if (!word) return WrongType(node, key.str(), "a text or a number");
    recipe.values.emplace_back(key.str(), *word);
  }
  TRY(const toml::table* vary, Table(table, "vary"));
  if (vary->size() > 1) return InvalidArgument(Line(*vary) + ": [vary] varies one value");
  for (const auto& [key, node] : *vary) {
    TRY_VOID(CheckFree(recipe, node, key.str()));
    recipe.varied = key.str();
    TRY(recipe.variants, Words(node, key.str()));
  }
  for (const auto& [name, value] : given) {
    if (name == recipe.varied) {
      recipe.variants = {value};
      continue;
    }
    TRY(std::string* const known, Given(recipe.values, name, "value in [values] or [vary] named"));
    *known = value;
  }
  return {};
}

Result<Recipe> FromTable(const toml::table& table, const std::string& path, const NamedTexts& files,
                         const NamedTexts& values) {
  Recipe recipe{.path = path};
  TRY_VOID(CheckKeys(table, "key of a recipe",
                     {"metric", "files", "measure", "limits", "values", "vary", "step"}));
  TRY_VOID(Read(table, "metric", recipe.metric));
  TRY_VOID(ReadFiles(table, path, files, recipe));
  if (recipe.File("valid") == nullptr) {
    return InvalidArgument("[files] needs valid: the set that every model is judged by");
  }

  TRY(const toml::table* measure, Table(table, "measure"));
  TRY_VOID(CheckKeys(*measure, "key of [measure]", {"seq", "batch", "threads", "seconds"}));
  TRY_VOID(Read(*measure, "seq", recipe.measure.seq));
  TRY_VOID(Read(*measure, "batch", recipe.measure.batch));
  TRY_VOID(Read(*measure, "threads", recipe.measure.threads));
  TRY_VOID(Read(*measure, "seconds", recipe.measure.seconds));

  TRY(const toml::table* limits, Table(table, "limits"));
  TRY_VOID(CheckKeys(*limits, "limit",
                     {"max-loss", "max-ms", "max-bytes", "min-smaller", "min-faster"}));
  TRY_VOID(Read(*limits, "max-loss", recipe.limits.max_loss, /*zero=*/true));
  TRY_VOID(Read(*limits, "max-ms", recipe.limits.max_ms));
  TRY_VOID(Read(*limits, "max-bytes", recipe.limits.max_bytes));
  TRY_VOID(Read(*limits, "min-smaller", recipe.limits.min_smaller));
  TRY_VOID(Read(*limits, "min-faster", recipe.limits.min_faster));

  TRY_VOID(ReadValues(table, values, recipe));

  const toml::node* steps = table.get("step");
  if (steps == nullptr || steps->as_array() == nullptr ||
      !steps->as_array()->is_homogeneous<toml::table>()) {
    return InvalidArgument("a recipe needs steps: [[step]]");
  }
  NameCheck names(recipe);
  for (const toml::node& node : *steps->as_array()) {
    TRY(Step step, ReadStep(*node.as_table()));
    TRY_VOID(names.Check(step));
    recipe.steps.push_back(std::move(step));
  }
  if (!names.model()) {
    return InvalidArgument("no step makes a model (train, distill, import, ... without part)");
  }
  return recipe;
}

}  // namespace

const StepVerb* FindStepVerb(std::string_view name) {
  for (const StepVerb& verb : kStepVerbs) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

namespace {

const std::string* Find(const NamedTexts& texts, std::string_view name) {
  for (const auto& [known, text] : texts) {
    if (known == name) return &text;
  }
  return nullptr;
}

}  // namespace

const std::string* Recipe::File(std::string_view name) const { return Find(files, name); }
const std::string* Recipe::Value(std::string_view name) const { return Find(values, name); }

Result<Recipe> ReadRecipe(const std::string& path, const NamedTexts& files,
                          const NamedTexts& values) {
  TRY(const std::string text, ReadFile(path, size_t{1} << 20));
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return InvalidArgument(path + ": line " + std::to_string(error.source().begin.line) + ": " +
                           std::string(error.description()));
  }
  Result<Recipe> recipe = FromTable(parsed.table(), path, files, values);
  if (!recipe) return std::move(recipe).error().In(path);
  return recipe;
}

}  // namespace thimble::pipeline
