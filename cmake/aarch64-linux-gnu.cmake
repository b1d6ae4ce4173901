# Debian's cross compiler for 64-bit Arm; programs that a build or a test runs go through QEMU.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-L;/usr/aarch64-linux-gnu")
# Headers without code of their own (Highway) come from this machine, after the target's.
set(CMAKE_CXX_FLAGS_INIT "-idirafter /usr/include")
