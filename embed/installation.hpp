// Where the files are that are installed with this program.
#pragma once

#include <string>

namespace waystation::server {

/// The folder of the page.
std::string installed_www();

/// The folder of the libraries in openssl_links/.
std::string installed_openssl_links();

}  // namespace waystation::server
