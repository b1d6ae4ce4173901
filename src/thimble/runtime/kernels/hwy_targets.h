// Which of Highway's targets we build; included before any of Highway's headers.
//
// Every target that the compiler can produce is built, and one is chosen at run time. HWY_SCALAR serves
// as the plain version on every compiler. AVX-512 with VNNI or AMX is AVX3 plus instructions of our own.
#pragma once

#if defined(__aarch64__)
// NEON is part of every 64-bit Arm processor. Left to detect targets at run time, Highway would compile it
// with the cryptographic extension, which many of them lack.
#define TOOLCHAIN_MISS_SYS_AUXV_H
#endif
#define HWY_BROKEN_EMU128 1
#define HWY_COMPILE_ALL_ATTAINABLE
// Compilers take minutes for a target under sanitizers: the oldest is tested by the optimized build alone, and what
// ThreadSanitizer looks for is the same in all of them.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define THIMBLE_UNSANITIZED_TARGETS HWY_SSE4
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define THIMBLE_UNSANITIZED_TARGETS (HWY_SSE4 | HWY_AVX3)
#endif
#ifndef THIMBLE_UNSANITIZED_TARGETS
#define THIMBLE_UNSANITIZED_TARGETS 0
#endif
#define HWY_DISABLED_TARGETS                                                                   \
  (THIMBLE_UNSANITIZED_TARGETS | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | \
   HWY_PPC8 | HWY_RVV | HWY_WASM_EMU256)
