# Read by CMake behind llama-cpp-python's project(llama_cpp), before anything else of it.

# The tools' library is no part of what Python loads, and half of the compiling.
set(LLAMA_BUILD_COMMON OFF)

# With zig, libomp goes beside the finished libraries, and they look for it in their own folder
# alone. CMake would add the folder that it was linked from, which is gone when the build is.
function(npc_engine_own_folder_alone folder)
    get_property(targets DIRECTORY "${folder}" PROPERTY BUILDSYSTEM_TARGETS)
    if(targets)
        set_target_properties(
            ${targets} PROPERTIES INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH FALSE
        )
    endif()
    get_property(folders DIRECTORY "${folder}" PROPERTY SUBDIRECTORIES)
    foreach(inner IN LISTS folders)
        npc_engine_own_folder_alone("${inner}")
    endforeach()
endfunction()

if(DEFINED OpenMP_omp_LIBRARY)
    install(FILES "${OpenMP_omp_LIBRARY}" DESTINATION "${SKBUILD_PLATLIB_DIR}/llama_cpp/lib")
    cmake_language(DEFER CALL npc_engine_own_folder_alone "${CMAKE_SOURCE_DIR}")
endif()
