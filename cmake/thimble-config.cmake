# find_package(thimble): the targets thimble::shared and thimble::static, for thimble.h.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/thimble-targets.cmake)
