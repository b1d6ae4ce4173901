// What integer arithmetic in another runtime must know of a model: how large its values become over texts.
#pragma once

#include <map>
#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/formats/tflite/export.h"

namespace thimble::cli {

// Runs the model over at most `samples` texts of the file, evenly chosen, and gives the ranges of the values that
// TfliteRangesFor names. The file is plain text, one a line, or a data set, of which the texts count.
Result<std::map<std::string, TfliteRange>> MeasureTfliteRanges(const Model& model,
                                                               const std::string& path,
                                                               size_t samples);

}  // namespace thimble::cli
