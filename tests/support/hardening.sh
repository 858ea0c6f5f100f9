# shellcheck shell=bash
# Checks for the protections that compiler and linker leave in a file. Sourced. Needs binutils.

# hardened FILE…: checks that these programs and shared libraries have every visible protection of
# packaging/cmake/hardening.cmake. Prints the missing ones.
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
  # A program names the loader; a library does not.
  if grep -q ' INTERP ' <<<"$tables"; then
    grep -qE '\(FLAGS_1\).*\bPIE\b' <<<"$tables" || unprotected+=("PIE")
  fi
  # Without this header the kernel makes the stack executable.
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

# Every branch target begins with endbr64; the compiler's start files have two. The linker's note is
# no evidence: it needs the property in every object, and start files of Debian 12's C library lack
# it.
has_landing_pads() {
  local file="$1" start
  [ "$(objdump -d --section=.text "$file" | grep -c '\bendbr64\b')" -ge 50 ] || return
  start="$(cc -print-file-name=crti.o 2>/dev/null)"
  [ -f "$start" ] && grep -q 'x86 feature: .*IBT' <<<"$(readelf -nW "$start")" || return 0
  grep -qE 'x86 feature: IBT, SHSTK' <<<"$(readelf -nW "$file")"
}
