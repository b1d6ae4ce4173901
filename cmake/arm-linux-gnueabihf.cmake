# 32-bit Arm from Cortex-A7 on: Debian's armhf asks for less, but its processors of today have NEON and fused
# multiply-add.
set(TRIPLET arm-linux-gnueabihf)
set(PROCESSOR arm)
include(${CMAKE_CURRENT_LIST_DIR}/cross.cmake)
string(APPEND CMAKE_CXX_FLAGS_INIT " -mfpu=neon-vfpv4")
