#include "embed/tls_options.hpp"

#include <algorithm>
#include <chrono>

#include "embed/addresses.hpp"

namespace waystation::server {
namespace {

using namespace std::chrono_literals;

constexpr auto kWarnBefore = 14 * 24h;

/// The first https:// entry of `listen`, or an empty text.
std::string first_tls_listener(const Settings& settings) {
  for (const auto& text : settings.list("listen")) {
    if (parse_listen_address(text)->is_tls) return text;
  }
  return {};
}

std::string assignment(const Settings& settings, std::string_view key) {
  return std::string{key} + " = " + quoted(std::string_view{settings.text(key)}) + ": ";
}

}  // namespace

std::string expiry_warning(const Settings& settings, const Certificate& certificate,
                           Certificate::Time now) {
  const auto left = certificate.expires() - now;
  if (left > kWarnBefore) return {};
  const auto date = to_text(certificate.expires());
  return assignment(settings, "tls_certificate") +
         (left <= 0s ? "it expired on " + date : "it expires on " + date) +
         "; renew it, then send SIGHUP";
}

std::shared_ptr<const Certificate> check_tls(Configuration& configuration, Certificate::Time now,
                                             std::vector<std::string>& warnings) {
  const auto& settings = configuration.settings;
  const auto& certificate_file = settings.text("tls_certificate");
  const auto& key_file = settings.text("tls_key");
  for (const std::string_view key : {"listen", "tls_certificate", "tls_key"}) {
    if (configuration.mistakes.contains(std::string{key})) return nullptr;  // has its default here
  }
  const auto listener = first_tls_listener(settings);

  if (certificate_file.empty() != key_file.empty()) {
    const std::string missing = certificate_file.empty() ? "tls_certificate" : "tls_key";
    const std::string present = certificate_file.empty() ? "tls_key" : "tls_certificate";
    configuration.add_mistake(missing, assignment(settings, missing) + present +
                                           " is set and needs it; allowed: both or none");
    return nullptr;
  }
  if (certificate_file.empty()) {
    if (!listener.empty()) {
      configuration.add_mistake(
          "listen", "listen = " + quoted(std::string_view{listener}) +
                        ": TLS needs a certificate; allowed: set tls_certificate and tls_key, or "
                        "remove https://");
    }
    return nullptr;
  }
  if (listener.empty()) {
    warnings.push_back(assignment(settings, "tls_certificate") +
                       "it is not used; write https:// in front of an address in listen");
    return nullptr;
  }

  auto read = Certificate::read(certificate_file, key_file, now);
  if (const auto* mistakes = std::get_if<std::vector<Certificate::Mistake>>(&read)) {
    for (const auto& mistake : *mistakes) {
      configuration.add_mistake(mistake.option,
                                assignment(settings, mistake.option) + mistake.text);
    }
    return nullptr;
  }
  return std::get<std::shared_ptr<const Certificate>>(std::move(read));
}

}  // namespace waystation::server
