// For tests: a .tflite file evaluated operation by operation, from the definitions of the operations and in
// double. It knows nothing of transformers, so it can judge what is recognised in them.
#pragma once

#include <cstdint>
#include <vector>

#include "thimble/formats/tflite/tflite_file.h"

namespace thimble {

struct TestArray {
  Shape shape;
  std::vector<double> values;
};

// Values of the outputs for these inputs, in the file's orders. Operations that it does not have stop the
// program.
std::vector<TestArray> InterpretTflite(const TfliteFile& file,
                                       const std::vector<TestArray>& inputs);

}  // namespace thimble
