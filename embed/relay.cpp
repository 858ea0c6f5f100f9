#include "embed/relay.hpp"

#include <array>
#include <stdexcept>
#include <string_view>

#include "embed/descriptors.hpp"

namespace waystation::server {
namespace {

void write_to_log(void* log, waystation_log_level level, const char* line) {
  auto& out = *static_cast<Log*>(log);
  const std::string_view text = line ? line : "";
  switch (level) {
    case WAYSTATION_LOG_ERROR:
      return out.error(text);
    case WAYSTATION_LOG_WARNING:
      return out.warning(text);
    case WAYSTATION_LOG_INFO:
      return out.info(text);
    case WAYSTATION_LOG_DEBUG:
      break;
  }
  out.debug(text);
}

int to_library(std::string_view auth) {
  if (auth == "jwt") return WAYSTATION_AUTH_JWT;
  if (auth == "header") return WAYSTATION_AUTH_HEADER;
  return WAYSTATION_AUTH_OPEN;
}

[[noreturn]] void complain(const char* what, waystation_status status, const char* error) {
  std::string line = *error != '\0' ? error : waystation_status_text(status);
  // Its name in the library says that it is a file; in the table all options are short.
  constexpr std::string_view field = "audit_file";
  if (line.starts_with(field)) line.replace(0, field.size(), "audit");
  if (status == WAYSTATION_INVALID) throw ConfigurationError{line};
  throw std::runtime_error{what + line};
}

// The table of options bounds all of these below 2^32.
std::uint32_t narrow(std::uint64_t number) {
  return static_cast<std::uint32_t>(number);
}

}  // namespace

RelayOptions::RelayOptions(const Settings& settings, Log& log) : settings_{settings} {
  waystation_options_init(&options_, sizeof options_);
  options_.auth = to_library(settings_.auth);
  options_.jwt_key_file = settings_.jwt_key_file.c_str();
  options_.jwt_issuer = settings_.jwt_issuer.c_str();
  options_.jwt_audience = keep(settings_.jwt_audience);
  options_.identity_header = settings_.identity_header.c_str();
  options_.scopes_header = settings_.scopes_header.c_str();
  options_.trusted_proxies = keep(settings_.trusted_proxies);
  options_.allowed_origins = keep(settings_.allowed_origins);
  options_.allowed_hosts = keep(settings_.allowed_hosts);
  options_.operators = keep(settings_.operators);
  options_.allow_open_network = settings_.allow_open_network ? 1 : 0;
  options_.allow_query_token = settings_.allow_query_token ? 1 : 0;
  options_.max_connections = narrow(settings_.max_connections);
  options_.max_connections_per_user = narrow(settings_.max_connections_per_user);
  options_.max_connections_per_address = narrow(settings_.max_connections_per_address);
  options_.messages_per_second = narrow(settings_.messages_per_second);
  options_.message_burst = narrow(settings_.message_burst);
  options_.max_message_bytes = settings_.max_message_bytes;
  options_.max_queue_bytes = settings_.max_queue_bytes;
  options_.max_total_queue_bytes = settings_.max_total_queue_bytes;
  options_.busy_poll_microseconds = narrow(settings_.busy_poll_microseconds);
  options_.ping_interval_seconds = narrow(settings_.ping_interval_seconds);
  options_.audit_file = settings_.audit.c_str();
  options_.audit_retention_days = narrow(settings_.audit_retention_days);
  options_.audit_max_bytes = settings_.audit_max_bytes;
  options_.descriptor_reserve = own_descriptors();
  options_.user_data = &log;
  options_.on_log = write_to_log;
}

const char* RelayOptions::keep(const std::vector<std::string>& list) {
  auto& joined = *joined_.emplace_back(std::make_unique<std::string>());
  for (const auto& entry : list) joined += (joined.empty() ? "" : ",") + entry;
  return joined.c_str();
}

Relay start_relay(const RelayOptions& options) {
  waystation_relay* relay = nullptr;
  std::array<char, 512> error{};
  const auto status = waystation_new(options.get(), &relay, error.data(), error.size());
  Relay owned{relay};
  if (status != WAYSTATION_OK) complain("the relay did not start: ", status, error.data());
  return owned;
}

void reconfigure_relay(waystation_relay* relay, const RelayOptions& options) {
  std::array<char, 512> error{};
  const auto status = waystation_reconfigure(relay, options.get(), error.data(), error.size());
  if (status != WAYSTATION_OK) complain("the relay took no new options: ", status, error.data());
}

}  // namespace waystation::server
