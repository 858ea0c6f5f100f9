# shellcheck shell=bash
# What the compiler's and the linker's protections leave in a file. Sourced. Needs binutils.

# hardened FILE…: these programs and shared libraries have every protection of
# packaging/cmake/hardening.cmake that can be seen in a file. Prints what one lacks.
hardened() {
  local file lacking=0
  [ $# -gt 0 ] || { echo "no file was given"; return 1; }
  for file in "$@"; do
    lacks_no_protection "$file" || lacking=1
  done
  return "$lacking"
}

lacks_no_protection() {
  local file="$1" tables undefined unprotected=()
  tables="$(readelf -hldW "$file")" || return
  undefined="$(nm -D --undefined-only "$file")" || return
  grep -qE '\((FLAGS|FLAGS_1)\).*\b(BIND_NOW|NOW)\b' <<<"$tables" || unprotected+=("BIND_NOW")
  grep -q GNU_RELRO <<<"$tables" || unprotected+=("RELRO")
  grep -qE '^ *Type: +DYN' <<<"$tables" || unprotected+=("position-independent code")
  # A program, as opposed to a library, names the loader.
  if grep -q ' INTERP ' <<<"$tables"; then
    grep -qE '\(FLAGS_1\).*\bPIE\b' <<<"$tables" || unprotected+=("PIE")
  fi
  # Without the header the kernel takes the stack to be executable.
  grep -qE '^ *GNU_STACK .* RW ' <<<"$tables" || unprotected+=("a stack that is not executable")
  grep -q ' __stack_chk_fail\b' <<<"$undefined" || unprotected+=("the stack protector")
  grep -qE ' __[a-z]+_chk\b' <<<"$undefined" || unprotected+=("_FORTIFY_SOURCE")
  if grep -qE '^ *Machine: .*X86-64' <<<"$tables"; then
    has_landing_pads "$file" || unprotected+=("-fcf-protection")
  fi
  [ ${#unprotected[@]} -eq 0 ] && return
  printf '%s lacks %s\n' "$file" "$(printf '%s, ' "${unprotected[@]}" | sed 's/, $//')"
  return 1
}

# Where a branch may land, an endbr64 stands. The compiler's start files bring two. The linker says so
# in a note where every object does, and Debian 12's C library has start files that do not.
has_landing_pads() {
  local file="$1" start
  [ "$(objdump -d --section=.text "$file" | grep -c '\bendbr64\b')" -ge 50 ] || return
  start="$(cc -print-file-name=crti.o 2>/dev/null)"
  [ -f "$start" ] && readelf -nW "$start" | grep -q 'x86 feature: .*IBT' || return 0
  readelf -nW "$file" | grep -qE 'x86 feature: IBT, SHSTK'
}
