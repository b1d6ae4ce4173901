# Debian's cross compiler for TRIPLET; programs that a build or a test runs go through QEMU's emulation of PROCESSOR.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${PROCESSOR})
set(CMAKE_C_COMPILER ${TRIPLET}-gcc)
set(CMAKE_CXX_COMPILER ${TRIPLET}-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-${PROCESSOR};-L;/usr/${TRIPLET}")
# Headers without code of their own (Highway) come from this machine, after the target's.
set(CMAKE_CXX_FLAGS_INIT "-idirafter /usr/include")
