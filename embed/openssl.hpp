// Makes CivetWeb find the OpenSSL of this program.
#pragma once

namespace waystation::server {

/// Loads the libraries of openssl_links/, for the rest of the process. Call it before
/// mg_init_library(). Throws std::runtime_error if one is missing, or if CivetWeb would load
/// another OpenSSL than this program is linked to.
void load_openssl_links();

}  // namespace waystation::server
