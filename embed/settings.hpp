// What an operator may set, with its defaults.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace waystation::server {

/// The folder of the page that was installed with this program.
std::string installed_www();

/// One field for each row of the table in options.cpp, which says what they mean.
struct Settings {
  std::vector<std::string> listen{"127.0.0.1:8080"};
  std::string www = installed_www();

  std::string auth = "open";
  std::string jwt_key_file;
  std::string jwt_issuer;
  std::vector<std::string> jwt_audience;
  std::string identity_header = "X-Forwarded-User";
  std::string scopes_header;
  std::vector<std::string> trusted_proxies;
  std::vector<std::string> allowed_origins;
  std::vector<std::string> allowed_hosts;
  std::vector<std::string> operators{"127.0.0.0/8", "::1"};
  bool allow_open_network = false;
  bool allow_query_token = false;

  std::uint64_t max_connections = 10000;
  std::uint64_t max_connections_per_user = 16;
  std::uint64_t max_connections_per_address = 64;
  std::uint64_t max_message_bytes = 65536;
  std::uint64_t max_queue_bytes = 1048576;
  std::uint64_t max_total_queue_bytes = 268435456;
  std::uint64_t messages_per_second = 50;
  std::uint64_t message_burst = 200;
  std::uint64_t busy_poll_microseconds = 0;
  std::uint64_t ping_interval_seconds = 25;

  std::string audit;
  std::uint64_t audit_retention_days = 30;
  std::uint64_t audit_max_bytes = 67108864;

  std::string log_level = "info";
  std::string log_format = "text";
};

}  // namespace waystation::server
