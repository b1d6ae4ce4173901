#include "thimble/graph/activation.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace thimble {
namespace {

struct NamedActivation {
  std::string_view name;
  Activation function;
};

constexpr NamedActivation kActivations[] = {
#define ACTIVATION(enumerator, name) {name, Activation::enumerator},
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
};

constexpr NamedActivation kAliases[] = {
#define ACTIVATION(enumerator, name)
#define ACTIVATION_ALIAS(alias, enumerator) {alias, Activation::enumerator},
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
};

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double Gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }
double GeluTanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

}  // namespace

std::string_view ActivationName(Activation activation) {
  return kActivations[static_cast<size_t>(activation)].name;
}

std::optional<Activation> ActivationFromName(std::string_view name) {
  for (const NamedActivation& a : kActivations) {
    if (a.name == name) return a.function;
  }
  for (const NamedActivation& a : kAliases) {
    if (a.name == name) return a.function;
  }
  return std::nullopt;
}

double ApplyActivation(Activation function, double x) {
  switch (function) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kRelu6:
      return std::clamp(x, 0.0, 6.0);
    case Activation::kRelu2:
      return std::max(x, 0.0) * std::max(x, 0.0);
    case Activation::kGelu:
      return Gelu(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kQuickGelu:
      return x * Sigmoid(1.702 * x);
    case Activation::kGelu10:
      return std::clamp(Gelu(x), -10.0, 10.0);
    case Activation::kLeakyRelu:
      return x >= 0 ? x : 0.01 * x;
    case Activation::kSilu:
      return x * Sigmoid(x);
    case Activation::kMish:
      return x * std::tanh(std::log1p(std::exp(x)));
    case Activation::kSigmoid:
      return Sigmoid(x);
    case Activation::kTanh:
      return std::tanh(x);
  }
  return x;
}

}  // namespace thimble
