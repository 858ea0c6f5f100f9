// The options of TLS, and the files that they name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "embed/certificate.hpp"
#include "embed/configuration.hpp"

namespace waystation::server {

/// The certificate for the https:// entries of `listen`. Null if there is no such entry, or if this
/// call added a mistake. Adds lines to `warnings` for what is allowed but probably a mistake.
std::shared_ptr<const Certificate> check_tls(Configuration& configuration, Certificate::Time now,
                                             std::vector<std::string>& warnings);

/// A warning if the certificate expires within 14 days or has expired. Otherwise empty.
std::string expiry_warning(const Settings& settings, const Certificate& certificate,
                           Certificate::Time now);

}  // namespace waystation::server
