#include "embed/installation.hpp"

#include <filesystem>
#include <string_view>

#if !defined(WAYSTATION_WWW) || !defined(WAYSTATION_PREFIX) || !defined(WAYSTATION_OPENSSL_LINKS)
#error "the build says where the files are installed"
#endif

namespace waystation::server {
namespace {

namespace fs = std::filesystem;

/// A folder below the prefix. First relative to the program: this works for a moved installation,
/// and in the build folder, which has the same layout.
std::string installed(std::string_view folder) {
  std::error_code error;
  const auto program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto beside = program.parent_path().parent_path() / folder;
    if (fs::is_directory(beside, error)) return beside.string();
  }
  return (fs::path{WAYSTATION_PREFIX} / folder).string();
}

}  // namespace

std::string installed_www() {
  return installed(WAYSTATION_WWW);
}

std::string installed_openssl_links() {
  return installed(WAYSTATION_OPENSSL_LINKS);
}

}  // namespace waystation::server
