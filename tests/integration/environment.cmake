# The environment of tests against a running server: waystation_give_server(test…).
function(waystation_give_server)
  set(sanitizers "")
  if(WAYSTATION_SANITIZE)
    set(sanitizers ";WAYSTATION_SANITIZED=1")
  endif()
  set_tests_properties(${ARGN} PROPERTIES
    ENVIRONMENT "WAYSTATION_BIN=$<TARGET_FILE:waystation>;PYTHONDONTWRITEBYTECODE=1${sanitizers}")
endfunction()
