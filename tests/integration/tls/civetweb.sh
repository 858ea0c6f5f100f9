# shellcheck shell=bash disable=SC2154 # the script that sources this file sets root, and sources debian_sources.sh
# Debian's source package of CivetWeb, and host programs that contain it with OpenSSL. Sourced.

# The flags of every CivetWeb built here. Hosts choose their own; these are the usual ones of a device
# with HTTPS. NO_SSL_DL: linked with OpenSSL. The name of OpenSSL's interface is the newest that the
# sources know.
civetweb_flags=(-w -g1 -pthread -fno-omit-frame-pointer -DUSE_WEBSOCKET -DNO_SSL_DL -DNO_CGI -DNO_CACHING)

# civetweb_sources: prints the folders of the sources to test, one `NAME FOLDER` a line. They are
# Debian's, with its patches and without, or those of WAYSTATION_CIVETWEB_SOURCE.
civetweb_sources() {
  local folder="$root/build/civetweb" dsc
  if [ -n "${WAYSTATION_CIVETWEB_SOURCE:-}" ]; then
    printf 'named %s\n' "$WAYSTATION_CIVETWEB_SOURCE"
    return
  fi
  if [ ! -f "$folder/complete" ]; then
    rm -rf "$folder"
    debian_sources civetweb "$folder" >&2 || return
    dsc="$(echo "$folder"/civetweb_*.dsc)"
    dpkg-source -x "$dsc" "$folder/debian" >&2 || return
    dpkg-source --skip-patches -x "$dsc" "$folder/upstream" >&2 || return
    touch "$folder/complete"
  fi
  printf 'debian %s/debian\nupstream %s/upstream\n' "$folder" "$folder"
}

# build_civetweb SOURCE OBJECT FLAG…
build_civetweb() {
  local source="$1" object="$2" api=OPENSSL_API_1_1
  shift 2
  if grep -q OPENSSL_API_3_0 "$source/src/civetweb.c"; then api=OPENSSL_API_3_0; fi
  # 1.14 uses a name of OpenSSL 1.0 that it defines only with run-time loading.
  "${CC:-cc}" "${civetweb_flags[@]}" "-D$api" '-DOPENSSL_REMOVE_THREAD_STATE()=' "$@" \
    -I"$source/include" -c "$source/src/civetweb.c" -o "$object"
}

# build_openssl FOLDER FLAG…: builds Debian's OpenSSL statically, with the flags of a sanitizer. Takes
# minutes. Prints nothing; FOLDER/build has libssl.a, libcrypto.a and include/.
build_openssl() {
  local folder="$1"
  shift
  if [ -f "$folder/complete" ]; then return; fi
  rm -rf "$folder"
  debian_sources openssl "$folder" && dpkg-source -x "$folder"/openssl_*.dsc "$folder/build" &&
    (cd "$folder/build" && ./config no-shared no-asm no-tests no-module no-engine \
      -O1 -g1 "$@" && make -s -j"$(nproc)" build_libs) && touch "$folder/complete"
}
