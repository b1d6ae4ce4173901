# RISC-V as Debian means it: rv64gc, which has no vectors.
set(TRIPLET riscv64-linux-gnu)
set(PROCESSOR riscv64)
include(${CMAKE_CURRENT_LIST_DIR}/cross.cmake)
