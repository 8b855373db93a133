# MOONRING_MIME_DB: the table of media types of the npm package mime-db; without npm, for C
# programmers, MOONRING_MIME_TYPES: the system's table.
find_program(NODE_EXECUTABLE node)
set(moonring_mime_db "")
if(NODE_EXECUTABLE)
  execute_process(
    COMMAND "${NODE_EXECUTABLE}" -p "require.resolve('mime-db/db.json')"
    WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}"
    OUTPUT_VARIABLE moonring_mime_db
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET
  )
endif()
set(MOONRING_MIME_DB "${moonring_mime_db}")
set(MOONRING_MIME_TYPES "")
if(NOT MOONRING_MIME_DB)
  foreach(path IN ITEMS /etc/mime.types /etc/apache2/mime.types /opt/homebrew/etc/mime.types)
    if(NOT MOONRING_MIME_TYPES AND EXISTS "${path}")
      set(MOONRING_MIME_TYPES "${path}")
    endif()
  endforeach()
endif()
