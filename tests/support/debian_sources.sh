# shellcheck shell=bash
# Source packages of Debian, at the time of a test. Sourced.

# debian_sources PACKAGE FOLDER: downloads Debian's source package into FOLDER, whatever the machine's
# list of package sources. Needs the signing keys of Debian and a mirror, as apt has them.
debian_sources() {
  local package="$1" folder="$2" mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg options
  mkdir -p "$folder/parts" "$folder/lists/partial" "$folder/cache/archives/partial"
  # shellcheck disable=SC2016 # apt's own variable
  mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    grep -m 1 '/debian/\?$')" || mirror=http://deb.debian.org/debian
  printf 'Types: deb-src\nURIs: %s\nSuites: bookworm\nComponents: main\nSigned-By: %s\n' \
    "$mirror" "$keys" >"$folder/parts/source.sources"
  options=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$folder/parts"
    -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update && (cd "$folder" && apt-get "${options[@]}" source --download-only "$package")
}
