#include "embed/openssl.hpp"

#include <dlfcn.h>
#include <openssl/ssl.h>

#include <stdexcept>
#include <string>

#include "embed/installation.hpp"

namespace waystation::server {

void load_openssl_links() {
  for (const std::string name : {"libcrypto.so", "libssl.so"}) {
    const auto path = installed_openssl_links() + "/" + name;
    // Never unloaded: CivetWeb keeps pointers to its functions.
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
      throw std::runtime_error{
          "TLS: CivetWeb needs a library that cannot be loaded: " + std::string{dlerror()} +
          "; install Waystation again, or use a proxy for TLS"};
    }
  }
  // The library that CivetWeb gets under this name.
  void* const found = dlopen("libssl.so", RTLD_NOW | RTLD_NOLOAD);
  if (found == nullptr || dlsym(found, "SSL_CTX_new") != reinterpret_cast<void*>(&SSL_CTX_new)) {
    throw std::runtime_error{
        "TLS: another libssl.so is loaded than the one of this program; remove it from LD_PRELOAD "
        "and LD_LIBRARY_PATH, or use a proxy for TLS"};
  }
}

}  // namespace waystation::server
