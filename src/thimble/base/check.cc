#include "thimble/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace thimble {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "thimble: bug at %s:%d: %s does not hold\n", file, line, condition);
  std::abort();
}

}  // namespace thimble
