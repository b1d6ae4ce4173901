# What every target of the project shares: language, warnings, floating-point rules, sanitizers.
#
#   thimble_library(NAME SOURCES... [DEPS libs...] [EXCEPTIONS])   a static library, `thimble_NAME`
#   thimble_json(TARGET)                                           gives a target with exceptions nlohmann-json, precompiled
#   thimble_cold_code(TARGET)                                      says that no time goes into running a target's code
#   thimble_vector_code(FILE.cc)                                   says that a source is made of vector operations
#   thimble_executable(NAME OUTPUT out SOURCES... [DEPS libs...])  a program
#   thimble_test(FILE.cc... [DEPS libs...] [LABELS names...] [HEADERS target])
#                                                                  one gtest program, named by its folder and, of one
#                                                                  source, by that
#   thimble_test_headers(NAME [DEPS libs...] [HEADERS files...])   precompiled headers for HEADERS of thimble_test:
#                                                                  GoogleTest's and those that are named
#   thimble_fuzzer(FILE.cc [DEPS libs...] [SEEDS dir])             one libFuzzer program
#
# Labels of tests: `threads` runs under ThreadSanitizer too; `slow` runs in the optimized build only; `emulated`
# runs under emulation of other processors too.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT EMSCRIPTEN)  # would be slower for nothing
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_package(Threads REQUIRED)

find_program(THIMBLE_CCACHE ccache)
if(THIMBLE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${THIMBLE_CCACHE})
endif()

# What the tsan preset builds, and what those for other processors build.
add_custom_target(threaded_tests)
add_custom_target(emulated_tests)

if(EMSCRIPTEN)
  # Debian's looks for its packages where Debian's Node.js does; another Node.js has to be told.
  set_property(GLOBAL PROPERTY RULE_LAUNCH_LINK "${CMAKE_COMMAND} -E env NODE_PATH=/usr/share/nodejs")
endif()

add_library(thimble_options INTERFACE)
target_include_directories(thimble_options INTERFACE
  ${PROJECT_SOURCE_DIR}/src ${PROJECT_BINARY_DIR}/generated)
# No contraction: every multiply-add that is meant to be fused says so, which is what makes results
# equal on every instruction set.
target_compile_options(thimble_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers -ffp-contract=off)
# Files beyond 2 GiB, where the system would count their bytes in 32 bits.
target_compile_definitions(thimble_options INTERFACE $<$<EQUAL:${CMAKE_SIZEOF_VOID_P},4>:_FILE_OFFSET_BITS=64>)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # Version 12 sees overlaps in string concatenation that are not there (its bug 105651).
  # To it every source of a unity build is a header.
  target_compile_options(thimble_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict;-Wno-subobject-linkage>)
endif()
if(THIMBLE_SANITIZE)
  target_compile_options(thimble_options INTERFACE
    -fsanitize=${THIMBLE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    -fno-sanitize=vptr)  # asks for type information, which half of the libraries do without
  target_link_options(thimble_options INTERFACE -fsanitize=${THIMBLE_SANITIZE})
endif()

# Counts which branches are taken, for libFuzzer to steer by. Tests, programs and what no fuzzer gives bytes to do without.
function(thimble_fuzzed_code target)
  if(THIMBLE_FUZZERS)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

function(thimble_library name)
  cmake_parse_arguments(ARG "EXCEPTIONS" "" "SOURCES;DEPS" ${ARGN})
  add_library(thimble_${name} STATIC ${ARG_SOURCES} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(thimble_${name} PUBLIC thimble_options ${ARG_DEPS})
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  if(NOT folder MATCHES "^(tests|src/thimble/(train|compress|runtime/kernels))")
    thimble_fuzzed_code(thimble_${name})
  endif()
  if(NOT ARG_EXCEPTIONS)
    # What a device links has neither exceptions nor run-time type information. Tables for unwinding stay: memory that
    # runs out is an exception of the standard library that c_api catches.
    target_compile_options(thimble_${name} PRIVATE -fno-exceptions -fno-rtti -funwind-tables)
    thimble_shipped_code(${name})
  endif()
endfunction()

# Symbols that are not shown, and of which the linker keeps what a program needs. A symbol that is unique in a whole
# program could not be hidden.
function(thimble_shipped_code name)
  target_compile_options(thimble_${name} PRIVATE
    -fvisibility=hidden -fvisibility-inlines-hidden -ffunction-sections -fdata-sections
    $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
endfunction()

# Options, JSON, messages: what costs the compiler most and the program nothing.
function(thimble_cold_code target)
  if(THIMBLE_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  else()
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
endfunction()

# nlohmann-json takes seconds of every source that includes it; compiled once for all targets.
function(thimble_json target)
  if(NOT TARGET json_headers)
    find_package(nlohmann_json REQUIRED GLOBAL)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/json_headers.cc CONTENT "")
    add_library(json_headers STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/generated/json_headers.cc)
    target_link_libraries(json_headers PRIVATE thimble_options nlohmann_json::nlohmann_json)
    target_precompile_headers(json_headers PRIVATE <nlohmann/json.hpp>)
    thimble_fuzzed_code(json_headers)
    thimble_cold_code(json_headers)
  endif()
  thimble_cold_code(${target})
  target_link_libraries(${target} PUBLIC nlohmann_json::nlohmann_json)
  target_precompile_headers(${target} REUSE_FROM json_headers)
endfunction()

# Without optimization every vector operation is a call, and tests take minutes. The checks of pointers that are left
# out would take the compiler minutes instead; AddressSanitizer sees what they are about. Options of a source stand
# behind those of its target, and so win.
function(thimble_vector_code source)
  if(THIMBLE_SANITIZE MATCHES undefined)
    set(options -O1 -fno-sanitize=alignment,null,object-size,pointer-overflow)
  else()
    # No exception passes a kernel, so that nothing has to be known about unwinding it.
    set(options $<$<CONFIG:Debug,MinSizeRel>:-O2>
      $<$<CONFIG:MinSizeRel>:-fno-asynchronous-unwind-tables> $<$<CONFIG:MinSizeRel>:-fno-unwind-tables>)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_SYSTEM_PROCESSOR MATCHES "^arm")
    list(APPEND options -mfp16-format=ieee)  # without it the compiler has no half floats
  endif()
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
endfunction()

function(thimble_executable name)
  cmake_parse_arguments(ARG "" "OUTPUT" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE thimble_options ${ARG_DEPS})
  if(ARG_OUTPUT)
    set_target_properties(${name} PROPERTIES OUTPUT_NAME ${ARG_OUTPUT})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# What a test program is made with. Most of what the compiler would spend on tests is the assertions.
function(thimble_test_program target)
  target_link_libraries(${target} PRIVATE thimble_options ${ARGN} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${target} PRIVATE THIMBLE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  thimble_cold_code(${target})
endfunction()

# The program itself is empty.
function(thimble_test_headers name)
  if(NOT THIMBLE_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "DEPS;HEADERS" ${ARGN})
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/${name}.cc CONTENT "")
  add_executable(${name} EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/generated/${name}.cc)
  thimble_test_program(${name} ${ARG_DEPS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS} <gmock/gmock.h> <gtest/gtest.h> <string> <vector>)
endfunction()

if(THIMBLE_TESTS)
  if(NOT CMAKE_CROSSCOMPILING)
    find_package(GTest REQUIRED GLOBAL)
  else()
    # Debian's source package, for the processor that the tests are for.
    add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
  endif()
endif()
thimble_test_headers(test_headers)

# Tests find the project's own fixtures through THIMBLE_SOURCE_DIR, and the optional goldens through
# the environment variable THIMBLE_SHARED or the folder `shared` beside the checkout.
function(thimble_test)
  if(NOT THIMBLE_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "HEADERS" "DEPS;LABELS" ${ARGN})
  list(LENGTH ARG_UNPARSED_ARGUMENTS sources)
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  string(REGEX REPLACE "^(src/thimble|tests)/" "" folder ${folder})
  string(REPLACE / _ folder ${folder})
  if(sources EQUAL 1)
    get_filename_component(name ${ARG_UNPARSED_ARGUMENTS} NAME_WE)
  else()
    set(name tests)
  endif()
  set(target ${folder}_${name})
  add_executable(${target} ${ARG_UNPARSED_ARGUMENTS})
  thimble_test_program(${target} ${ARG_DEPS})
  if(ARG_HEADERS)
    target_precompile_headers(${target} REUSE_FROM ${ARG_HEADERS})
  else()
    target_precompile_headers(${target} REUSE_FROM test_headers)
  endif()
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${target} COMMAND ${target})
  # What is many tests begins first, so that it does not end last.
  set_tests_properties(${target} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600 COST ${sources})
  if(THIMBLE_SANITIZE)
    set_tests_properties(${target} PROPERTIES ENVIRONMENT "GTEST_FILTER=-Judged*")  # tests/support/judged.h
  endif()
  if(threads IN_LIST ARG_LABELS)
    add_dependencies(threaded_tests ${target})
  endif()
  if(emulated IN_LIST ARG_LABELS)
    add_dependencies(emulated_tests ${target})
  endif()
endfunction()

function(thimble_fuzzer source)
  if(NOT THIMBLE_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "SEEDS" "DEPS" ${ARGN})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE thimble_options ${ARG_DEPS})
  thimble_fuzzed_code(${name})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  # A short run in the test command; `seeds` are only read, new finds go to the build folder.
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz/corpus/${name})
  add_test(NAME fuzz_${name} COMMAND ${name} -max_total_time=5 -rss_limit_mb=1024 -timeout=5
    -print_final_stats=0 -artifact_prefix=${PROJECT_BINARY_DIR}/fuzz/${name}-
    ${PROJECT_BINARY_DIR}/fuzz/corpus/${name} ${ARG_SEEDS})
  set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz TIMEOUT 60)
endfunction()
