#include "embed/settings.hpp"

#include <filesystem>

#ifndef WAYSTATION_WWW
#error "the build says where the page is installed"
#endif

namespace waystation::server {

std::string installed_www() {
  namespace fs = std::filesystem;
  // Beside the program first: that holds where the whole was installed or unpacked elsewhere, and
  // in the build folder, which has a link there.
  std::error_code error;
  const auto program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto beside = program.parent_path().parent_path() / "share" / "waystation" / "www";
    if (fs::is_directory(beside, error)) return beside.string();
  }
  return WAYSTATION_WWW;
}

}  // namespace waystation::server
