// Files and folders: what they hold as one hash, which names a step's input whatever it is called, and writing them.
#pragma once

#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble::pipeline {

// SHA-256 of a file's bytes; of a folder, of all paths below it and their contents, in order of their names.
Result<std::string> ContentHash(const std::string& path);

// Bytes of the file, or of all files in the folder.
Result<double> ContentBytes(const std::string& path);

// Writes a file whole or not at all.
Status WriteText(const std::string& path, std::string_view text);

// The folder and those above it; no error where it is there already.
Status MakeFolder(const std::string& path);

}  // namespace thimble::pipeline
