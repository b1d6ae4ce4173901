// write_models FOLDER: the models of tests/fixtures/library, for which expected_logits.txt has the logits of x86-64.
// Run on purpose only, when the file format changes:
//   build/optimized/tests/write_models tests/fixtures/library
#include <cstdio>
#include <string>

#include "thimble/formats/thimble/writer.h"
#include "thimble/runtime/test_graphs.h"
#include "thimble/runtime/test_models.h"

int main(int argc, char** argv) {
  using namespace thimble;
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_models FOLDER\n");
    return 2;
  }
  for (const auto& [dtype, name] : {std::pair(DType::kF32, "float32"), {DType::kI8, "int8"}}) {
    Model model;
    model.architecture = "mobilebert";
    model.task = Task::kSingleLabel;
    model.labels = {"bad", "fine", "neither"};
    model.tokenizer = TestVocabulary();
    model.graph = TestGraph(dtype).Encoder();
    const Status status = WriteThimble(model, std::string(argv[1]) + "/" + name + ".thimble");
    if (!status.has_value()) {
      std::fprintf(stderr, "write_models: %s\n", status.error().message().c_str());
      return 1;
    }
  }
}
