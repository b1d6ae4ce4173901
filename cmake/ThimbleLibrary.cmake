# The library that others link, shared and static, as it is installed: thimble.h, libthimble.so, libthimble.a, a
# CMake package and a pkg-config file. Both hold all parts and show nothing but thimble_*.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(objects)
foreach(part base text graph model file kernels runtime c_api)
  list(APPEND objects $<TARGET_OBJECTS:thimble_${part}>)
endforeach()

if(EMSCRIPTEN)
  # WebAssembly has no objects that hide symbols; what is exported is said where a module is linked.
  add_library(thimble_static STATIC ${objects})
else()
  # One object whose other symbols are its own. Groups are dissolved first: the program may have the same template,
  # and the linker would drop ours, which local symbols still mean.
  set(whole ${PROJECT_BINARY_DIR}/thimble.o)
  add_custom_command(OUTPUT ${whole}
    COMMAND ${CMAKE_CXX_COMPILER} -r -nostdlib -Wl,--force-group-allocation -o ${whole} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=thimble_* ${whole}
    DEPENDS ${objects} COMMAND_EXPAND_LISTS VERBATIM COMMENT "Linking ${whole}")
  add_library(thimble_static STATIC ${whole})
endif()
set_target_properties(thimble_static PROPERTIES
  OUTPUT_NAME thimble EXPORT_NAME static LINKER_LANGUAGE CXX ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
if(NOT EMSCRIPTEN)
  target_link_libraries(thimble_static INTERFACE Threads::Threads stdc++ m)
endif()

set(libraries thimble_static)
if(NOT EMSCRIPTEN)
  add_library(thimble_shared SHARED ${objects})
  # A minor version may break before 1.0.
  set_target_properties(thimble_shared PROPERTIES
    OUTPUT_NAME thimble EXPORT_NAME shared VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} LINKER_LANGUAGE CXX
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/thimble.map)
  target_link_libraries(thimble_shared PRIVATE Threads::Threads)
  target_link_options(thimble_shared PRIVATE
    -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/thimble.map -Wl,--gc-sections -Wl,--no-undefined)
  list(APPEND libraries thimble_shared)
endif()

foreach(library ${libraries})
  target_include_directories(${library} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/thimble)
install(TARGETS ${libraries} EXPORT thimble-targets COMPONENT library)
install(FILES ${PROJECT_SOURCE_DIR}/include/thimble.h TYPE INCLUDE COMPONENT library)
install(EXPORT thimble-targets NAMESPACE thimble:: DESTINATION ${package_folder} COMPONENT library)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/thimble-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/thimble-config.cmake ${PROJECT_BINARY_DIR}/thimble-config-version.cmake
  DESTINATION ${package_folder} COMPONENT library)
# Relative, so that the folder may move and `cmake --install --prefix` may name another.
file(RELATIVE_PATH prefix_from_pkgconfig ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/thimble.pc.in ${PROJECT_BINARY_DIR}/thimble.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/thimble.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
