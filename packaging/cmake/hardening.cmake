# Hardening flags of the compiler and the linker. waystation_harden(TARGET) adds them to an interface
# target.
#
# A distribution's flags have priority: flags in CMAKE_CXX_FLAGS (dpkg-buildflags, rpm's macros) and
# compiler defaults, such as a higher _FORTIFY_SOURCE, do not change. Flags that the compiler or the
# linker does not support are skipped.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckLinkerFlag)
include(CheckPIESupported)

# CMAKE_POSITION_INDEPENDENT_CODE alone does not link programs with -pie.
check_pie_supported(LANGUAGES C CXX)

function(waystation_harden target)
  foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection)
    string(MAKE_C_IDENTIFIER "WAYSTATION_KNOWS${flag}" knows)
    string(REGEX REPLACE "^-f|-strong$" "" family ${flag})
    if(CMAKE_CXX_FLAGS MATCHES "-f(no-)?${family}")
      continue()
    endif()
    check_cxx_compiler_flag(${flag} ${knows})
    if(${knows})
      target_compile_options(${target} INTERFACE ${flag})
    endif()
  endforeach()

  # _FORTIFY_SOURCE checks the bounds that the optimiser can determine. Level 3 costs more than 2 and
  # needs g++ 12.
  set(CMAKE_REQUIRED_FLAGS -O2)
  check_cxx_source_compiles("
#if !defined(_FORTIFY_SOURCE) || _FORTIFY_SOURCE < 2
#error
#endif
int main() {}" WAYSTATION_IS_FORTIFIED)
  if(NOT WAYSTATION_IS_FORTIFIED AND NOT CMAKE_CXX_FLAGS MATCHES "_FORTIFY_SOURCE")
    set(optimised $<CONFIG:Release,RelWithDebInfo,MinSizeRel>)
    target_compile_options(${target} INTERFACE
      "$<${optimised}:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
  endif()

  foreach(flag relro now noexecstack)
    check_linker_flag(CXX -Wl,-z,${flag} WAYSTATION_LINKS_${flag})
    if(WAYSTATION_LINKS_${flag})
      target_link_options(${target} INTERFACE -Wl,-z,${flag})
    endif()
  endforeach()
endfunction()
