// What a file or a folder holds, as one hash: names a step's input whatever it is called.
#pragma once

#include <string>

#include "thimble/base/result.h"

namespace thimble::pipeline {

// SHA-256 of a file's bytes; of a folder, of all paths below it and their contents, in order of their names.
Result<std::string> ContentHash(const std::string& path);

// Bytes of the file, or of all files in the folder.
Result<double> ContentBytes(const std::string& path);

}  // namespace thimble::pipeline
