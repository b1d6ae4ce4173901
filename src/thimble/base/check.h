// Assertions about our own code. Input can never reach one: bytes, files and command lines are
// answered with a Result (base/result.h).
#pragma once

namespace thimble {

// Prints the place and the condition to standard error and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace thimble

#define THIMBLE_CHECK(condition) \
  ((condition) ? (void)0 : ::thimble::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define THIMBLE_DCHECK(condition) ((void)sizeof(condition))
#else
#define THIMBLE_DCHECK(condition) THIMBLE_CHECK(condition)
#endif
