# moonring_add_addon(<target> <source>...): a Node-API module named <target>.node, without node-gyp.
# The headers come from the npm packages node-api-headers and node-addon-api, so nothing is
# downloaded.

find_program(NODE_EXECUTABLE node REQUIRED)

function(moonring_node_include_dir variable package expression)
  execute_process(
    COMMAND "${NODE_EXECUTABLE}" -p "require('${package}').${expression}"
    WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}"
    OUTPUT_VARIABLE directory
    OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE status
    ERROR_QUIET
  )
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "The npm package ${package} is missing: run npm ci first.")
  endif()
  string(REPLACE "\"" "" directory "${directory}")
  get_filename_component(directory "${directory}" ABSOLUTE BASE_DIR "${CMAKE_SOURCE_DIR}")
  set(${variable} "${directory}" PARENT_SCOPE)
endfunction()

function(moonring_add_addon target)
  moonring_node_include_dir(node_api_dir node-api-headers include_dir)
  moonring_node_include_dir(node_addon_api_dir node-addon-api include_dir)

  add_library(${target} MODULE ${ARGN})
  set_target_properties(
    ${target}
    PROPERTIES PREFIX ""
               SUFFIX ".node"
               LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}"
  )
  target_include_directories(${target} SYSTEM PRIVATE "${node_api_dir}" "${node_addon_api_dir}")
  target_compile_definitions(
    ${target} PRIVATE NAPI_VERSION=9 NODE_ADDON_API_CPP_EXCEPTIONS NODE_ADDON_API_DISABLE_DEPRECATED
  )

  if(APPLE)
    target_link_options(${target} PRIVATE -undefined dynamic_lookup)
  else()
    target_link_options(
      ${target} PRIVATE "-Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/addon.map"
                        # A keeper (server/hs_keeper.h) has no memory for a late resolution.
                        -Wl,-z,now
    )
    moonring_link_inside(${target})
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${CMAKE_SOURCE_DIR}/cmake/addon.map")
  endif()
endfunction()
