# Installation. All files go below the prefix (GNUInstallDirs), in these components:
#
#     library       libwaystation.so.0                       development   headers, CMake, pkg-config
#     server        the program, its unit, configuration     www           the page, once it is built
#     documentation manual pages, operators' documents, the nginx site, dashboards, examples
#
#     cmake --install build/release --prefix /usr/local
#     cmake --install build/release --prefix /opt/sdk --component development

include(CMakePackageConfigHelpers)

set(WAYSTATION_SYSTEMD_UNIT_DIR lib/systemd/system CACHE STRING
    "Folder of systemd units, absolute or below the prefix")
set(WAYSTATION_SYSUSERS_DIR lib/sysusers.d CACHE STRING
    "Folder of systemd-sysusers files, absolute or below the prefix")
set(WAYSTATION_WEB_GROUP www-data CACHE STRING
    "Group of the web server, which may use the socket of waystation-handover.socket")

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/waystation)
set(examples_dir ${CMAKE_INSTALL_DOCDIR}/examples)
set(packaging_dir ${CMAKE_CURRENT_LIST_DIR})

# ---- the library -----------------------------------------------------------------------------------

# Dependencies of programs that link the static library, by their pkg-config names. tests/consumer
# links both libraries and fails if a name is missing here.
set(static_modules libcjson libjwt libcrypto)
if(TARGET waystation_audit)
  list(APPEND static_modules sqlite3)
endif()
if(TARGET waystation_cluster)
  list(APPEND static_modules hiredis)
endif()

# The modules are not targets of the installed package. The archive contains their objects, and
# waystation-config.cmake finds the libraries that they link.
set(WAYSTATION_STATIC_LOOKUPS "")
set(WAYSTATION_STATIC_LDFLAGS "")
set(static_needs "$<LINK_ONLY:Threads::Threads>")
foreach(module IN LISTS static_modules)
  string(TOUPPER ${module} name)
  string(REGEX REPLACE "^LIB" "" name ${name})
  pkg_check_modules(WAYSTATION_${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  list(APPEND static_needs "$<LINK_ONLY:PkgConfig::WAYSTATION_${name}>")
  list(APPEND WAYSTATION_STATIC_LDFLAGS ${WAYSTATION_${name}_LDFLAGS})
  string(APPEND WAYSTATION_STATIC_LOOKUPS
         "    pkg_check_modules(WAYSTATION_${name} QUIET IMPORTED_TARGET ${module})\n"
         "    if(NOT WAYSTATION_${name}_FOUND)\n"
         "      list(APPEND _waystation_missing ${module})\n"
         "    endif()\n")
endforeach()
set_property(TARGET waystation_static PROPERTY INTERFACE_LINK_LIBRARIES "${static_needs}")

set_target_properties(waystation_shared PROPERTIES EXPORT_NAME waystation)
set_target_properties(waystation_static PROPERTIES EXPORT_NAME waystation_static)

install(TARGETS waystation_shared EXPORT waystation-shared
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
          COMPONENT library NAMELINK_COMPONENT development)
install(TARGETS waystation_static EXPORT waystation-static
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/module/include/waystation
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
        FILES_MATCHING PATTERN "*.h")

foreach(kind shared static)
  install(EXPORT waystation-${kind} NAMESPACE waystation:: FILE waystation-${kind}-targets.cmake
          DESTINATION ${config_dir} COMPONENT development)
endforeach()
configure_package_config_file(${packaging_dir}/cmake/waystation-config.cmake.in
  ${PROJECT_BINARY_DIR}/packaging/waystation-config.cmake
  INSTALL_DESTINATION ${config_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0, a new minor version may break compatibility.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/packaging/waystation-config-version.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/packaging/waystation-config.cmake
    ${PROJECT_BINARY_DIR}/packaging/waystation-config-version.cmake
  DESTINATION ${config_dir} COMPONENT development)

# The prefix is relative to the file, so that an installation can be moved, or used below DESTDIR.
# The static library's dependencies are in Libs.private. With Requires.private, pkg-config would
# require these packages for the shared library too.
list(REMOVE_DUPLICATES WAYSTATION_STATIC_LDFLAGS)
list(JOIN WAYSTATION_STATIC_LDFLAGS " " WAYSTATION_STATIC_LDFLAGS)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
           BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
           OUTPUT_VARIABLE WAYSTATION_PC_PREFIX)
configure_file(${packaging_dir}/cmake/waystation.pc.in
               ${PROJECT_BINARY_DIR}/packaging/waystation.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/waystation.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

install(FILES ${packaging_dir}/man/libwaystation.3
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT documentation)
install(FILES ${PROJECT_SOURCE_DIR}/embed/examples/appliance.c
              ${PROJECT_SOURCE_DIR}/embed/examples/appliance_tls.c
              ${PROJECT_SOURCE_DIR}/embed/examples/handover.py
        DESTINATION ${examples_dir} COMPONENT documentation)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/embed/examples/own_login
        DESTINATION ${examples_dir} COMPONENT documentation)

if(NOT WAYSTATION_BUILD_SERVER)
  return()
endif()

# ---- the server ------------------------------------------------------------------------------------

# The program finds its library relative to itself, so the prefix can be moved. Distributions
# install into the loader's path and set CMAKE_SKIP_RPATH.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_FULL_BINDIR}
           OUTPUT_VARIABLE library_from_program)
set_target_properties(waystation PROPERTIES INSTALL_RPATH "$ORIGIN/${library_from_program}")
install(TARGETS waystation RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)
install(TARGETS waystation_openssl_ssl waystation_openssl_crypto
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/waystation COMPONENT server)

# OPTIONAL: the page exists after `npm run build`. The server logs an error if it is missing.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/www/dist/ OPTIONAL
        DESTINATION ${CMAKE_INSTALL_DATADIR}/waystation/www COMPONENT www)

foreach(unit waystation.service waystation-handover.socket)
  configure_file(${packaging_dir}/systemd/${unit}.in ${PROJECT_BINARY_DIR}/packaging/${unit} @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/packaging/${unit}
          DESTINATION ${WAYSTATION_SYSTEMD_UNIT_DIR} COMPONENT server)
endforeach()
install(FILES ${packaging_dir}/systemd/waystation.sysusers RENAME waystation.conf
        DESTINATION ${WAYSTATION_SYSUSERS_DIR} COMPONENT server)
configure_file(${packaging_dir}/waystation.toml.in
               ${PROJECT_BINARY_DIR}/packaging/waystation.toml @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/waystation.toml
        DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/waystation COMPONENT server)

install(FILES ${packaging_dir}/man/waystation.1
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT documentation)
install(FILES ${packaging_dir}/man/waystation.toml.5
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT documentation)
# In folders as in the source tree, so that links between them work.
foreach(document IN ITEMS SECURITY.md module/CLUSTER.md packaging/README.md sql/README.md)
  get_filename_component(folder ${document} DIRECTORY)
  install(FILES ${PROJECT_SOURCE_DIR}/${document}
          DESTINATION ${CMAKE_INSTALL_DOCDIR}/${folder} COMPONENT documentation)
endforeach()
install(DIRECTORY ${packaging_dir}/nginx ${packaging_dir}/haproxy ${packaging_dir}/cluster ${packaging_dir}/monitoring
                  ${PROJECT_SOURCE_DIR}/embed/examples/django
                  ${PROJECT_SOURCE_DIR}/embed/examples/auth_request
        USE_SOURCE_PERMISSIONS
        DESTINATION ${examples_dir} COMPONENT documentation
        PATTERN __pycache__ EXCLUDE)
