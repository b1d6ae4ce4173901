// A program run to its end, with its output in files.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "thimble/base/result.h"

namespace thimble::pipeline {

// Runs `arguments` (the program first) without input and returns its exit code. `waiting` is called some times a second; after its first error the program
// gets SIGINT, once, and is waited for. The program is no member of the terminal's group, so that Ctrl-C reaches it in this way only,
// and gets SIGINT too when this process dies. A program that a signal ends is an error.
Result<int> RunProcess(const std::vector<std::string>& arguments, const std::string& stdout_path,
                       const std::string& stderr_path, const std::function<Status()>& waiting);

}  // namespace thimble::pipeline
