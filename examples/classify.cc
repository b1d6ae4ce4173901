// Classifies texts in C++, all of them as one batch; handles are freed by unique_ptr.
//
//   classify MODEL TEXT...
//
// How to build it against an installed library: docs/library.md.
#include <thimble.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace {

struct Free {
  void operator()(thimble_model* model) const { thimble_model_free(model); }
  void operator()(thimble_predictor* predictor) const { thimble_predictor_free(predictor); }
  void operator()(thimble_results* results) const { thimble_results_free(results); }
};

int Fail() {
  std::fprintf(stderr, "classify: %s\n", thimble_error());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: classify MODEL TEXT...\n");
    return 2;
  }
  thimble_model* made_model = nullptr;
  if (thimble_model_load(argv[1], &made_model) != THIMBLE_OK) return Fail();
  const std::unique_ptr<thimble_model, Free> model(made_model);

  thimble_options options{};
  options.struct_size = sizeof(options);
  options.threads = 2;
  thimble_predictor* made_predictor = nullptr;
  if (thimble_predictor_create(model.get(), &options, &made_predictor) != THIMBLE_OK) return Fail();
  const std::unique_ptr<thimble_predictor, Free> predictor(made_predictor);

  std::vector<thimble_input> inputs;
  for (int i = 2; i < argc; ++i) {
    thimble_input input{};
    input.struct_size = sizeof(input);
    input.text = argv[i];
    input.text_size = std::strlen(argv[i]);
    inputs.push_back(input);
  }
  thimble_results* made_results = nullptr;
  if (thimble_predict(predictor.get(), inputs.data(), inputs.size(), &made_results) != THIMBLE_OK) {
    return Fail();
  }
  const std::unique_ptr<thimble_results, Free> results(made_results);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (std::size_t k = 0; k < thimble_results_label_count(results.get(), i); ++k) {
      thimble_label label{};
      label.struct_size = sizeof(label);
      if (thimble_results_label(results.get(), i, k, &label) != THIMBLE_OK) return Fail();
      std::printf("%5.1f %%  %s  %s\n", 100.0 * static_cast<double>(label.score), label.name,
                  inputs[i].text);
    }
  }
}
