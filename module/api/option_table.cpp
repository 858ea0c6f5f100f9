#include "api/option_table.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cluster/engine_address.hpp"
#include "relay/node_name.hpp"

namespace waystation {
namespace {

constexpr std::array<const char*, 5> kAuthChoices{"open", "jwt", "header", "callback", nullptr};
constexpr std::array<const char*, 5> kLogLevels{"error", "warning", "info", "debug", nullptr};

constexpr const char* kBlocks = "addresses and CIDR blocks, such as 192.0.2.7 or 10.0.0.0/8";
constexpr const char* kFieldName = "the name of an HTTP header field, such as X-Forwarded-User";

enum class Applies : int { at_start = 0, live = 1 };

// One macro per type of option. Numbers are literals, because the text of a range contains them.
// NOLINTBEGIN(cppcoreguidelines-macro-usage): only a macro knows a field's name, offset and size
#define FIELD(name) offsetof(waystation_options, name), sizeof(waystation_options::name)
#define ROW(name, group, type, unit, allowed, number, text, min, max, zero, choices, live, help) \
  waystation_option_info {                                                                       \
    sizeof(waystation_option_info), #name, group, help, allowed, unit, WAYSTATION_OPTION_##type, \
        static_cast<int>(live), FIELD(name), number, text, min, max, zero, choices               \
  }
#define NUMBER(name, group, unit, standard, min, max, help)                            \
  ROW(name, group, NUMBER, unit, #min " to " #max, standard, "", min, max, 0, nullptr, \
      Applies::live, help)
#define NUMBER_OR_ZERO(name, group, unit, standard, min, max, help)                             \
  ROW(name, group, NUMBER, unit, "0, or " #min " to " #max, standard, "", min, max, 1, nullptr, \
      Applies::live, help)
#define BOOLEAN(name, group, standard, help)                                                    \
  ROW(name, group, BOOLEAN, "", "true or false", standard, "", 0, 1, 0, nullptr, Applies::live, \
      help)
#define CHOICE(name, group, standard, allowed, choices, help)                                   \
  ROW(name, group, CHOICE, "", allowed, standard, "", 0, choices.size() - 2, 0, choices.data(), \
      Applies::live, help)
#define TEXT(name, group, standard, allowed, live, help) \
  ROW(name, group, TEXT, "", allowed, 0, standard, 0, 0, 0, nullptr, live, help)
#define LIST(name, group, standard, allowed, live, help) \
  ROW(name, group, LIST, "", allowed, 0, standard, 0, 0, 0, nullptr, live, help)
// NOLINTEND(cppcoreguidelines-macro-usage)

// clang-format off
constexpr std::array kOptions = {
    CHOICE(auth, "identity", WAYSTATION_AUTH_OPEN, "open, jwt, header or callback", kAuthChoices,
           "How callers are identified: open (no authentication), jwt (a signed token) or header "
           "(a trusted proxy)."),
    TEXT(jwt_key_file, "identity", "", "the path of a file that its user can read", Applies::live,
         "File with the keys that verify tokens: secrets in base64 or keys in PEM."),
    TEXT(jwt_issuer, "identity", "", "any text", Applies::live,
         "Issuer that a token must name (iss). Empty: any."),
    LIST(jwt_audience, "identity", "", "texts without commas", Applies::live,
         "Audiences of which a token must name one (aud). Empty: any."),
    TEXT(identity_header, "identity", "X-Forwarded-User", kFieldName, Applies::live,
         "Header field in which a trusted proxy names the user."),
    TEXT(scopes_header, "identity", "", kFieldName, Applies::live,
         "Header field in which a trusted proxy names the scopes. Empty: no scopes."),
    LIST(trusted_proxies, "identity", "", kBlocks, Applies::live,
         "Proxies whose forwarding and identity header fields are trusted."),
    LIST(allowed_origins, "identity", "", "origins, scheme://host[:port]", Applies::live,
         "Other sites whose pages may connect, such as https://chat.example."),
    LIST(allowed_hosts, "identity", "", "host names and addresses, with or without a port",
         Applies::live,
         "Host names under which auth = \"open\" can be reached from a network."),
    LIST(operators, "identity", "127.0.0.0/8,::1", kBlocks, Applies::live,
         "Client addresses that may read /healthz and /metrics, and with auth = \"open\" use the "
         "HTTP API."),
    BOOLEAN(allow_open_network, "identity", 0,
            "Lets auth = \"open\" serve clients on a network, where anyone can be any user."),
    BOOLEAN(allow_query_token, "identity", 0,
            "Accepts tokens in ?access_token= too, which the logs of proxies may record."),
    BOOLEAN(show_reachable, "identity", 1,
            "Tells a user whether a notification would reach the other user of a conversation. "
            "Everyone who may open a conversation with a user then sees whether they are online."),
    TEXT(handover_key_file, "identity", "", "the path of a file that its user can read",
         Applies::live,
         "File with a key of 16 to 256 bytes that web servers must know to hand over connections. "
         "Empty: the permissions of the socket in handover decide alone."),

    NUMBER(max_connections, "limits", "", 10000, 0, 10000000,
           "Maximum number of open sockets. 0: limited by descriptors only."),
    NUMBER(max_connections_per_user, "limits", "", 16, 0, 1000000,
           "Maximum number of open sockets of one user. 0: no limit."),
    NUMBER(max_connections_per_address, "limits", "", 64, 0, 10000000,
           "Maximum number of open sockets from one client address. 0: no limit."),
    NUMBER(max_message_bytes, "limits", "bytes", 65536, 1, 1073741824,
           "Maximum length of a frame from a client. A longer one closes its socket with 1009."),
    NUMBER(max_queue_bytes, "limits", "bytes", 1048576, 1025, 1099511627776,
           "Maximum bytes queued for one socket before it is closed with 4408. At least 1024 more "
           "than max_message_bytes."),
    NUMBER(max_total_queue_bytes, "limits", "bytes", 268435456, 1025, 1099511627776,
           "Maximum bytes queued for all sockets together. At least max_queue_bytes."),
    NUMBER(messages_per_second, "limits", "", 50, 0, 1000000,
           "Messages per second that a user may send. 0: no limit."),
    NUMBER(message_burst, "limits", "", 200, 1, 1000000,
           "Messages that a user may send at once before that rate applies."),
    NUMBER(busy_poll_microseconds, "limits", "microseconds", 0, 0, 1000000,
           "Time to poll for events before sleeping: lower latency for more CPU."),
    NUMBER(ping_interval_seconds, "limits", "seconds", 25, 1, 3600,
           "Seconds between WebSocket pings on an idle connection. It is closed when nothing comes "
           "for two intervals."),

    TEXT(audit_file, "audit", "", "the path of a file in an existing folder", Applies::at_start,
         "File of the audit, which keeps the outcomes of messages without their content. Empty: no "
         "audit."),
    NUMBER(audit_retention_days, "audit", "days", 30, 0, 36500,
           "Days after which rows of the audit are deleted. 0: never."),
    NUMBER_OR_ZERO(audit_max_bytes, "audit", "bytes", 67108864, 1048576, 1099511627776,
                   "Size of the audit above which its oldest rows are deleted. 0: no limit."),
    TEXT(node_name, "audit", "", WAYSTATION_NODE_NAME_RULE,
         Applies::at_start,
         "Name of this relay in the audit and in its cluster. Relays that write one file or form one "
         "cluster need different names. Empty: the host name."),

    LIST(cluster, "cluster", "", kEngineAddressAllowed, Applies::at_start,
         "Redis or Valkey servers that connect the nodes of one relay, such as "
         "redis://10.0.0.5:6379; each group belongs to one of them. The same on all nodes, in the "
         "same order. Empty: this node is the only one."),
    TEXT(cluster_name, "cluster", "waystation", "1 to 64 of the characters 0-9, a-z, A-Z, - and _",
         Applies::at_start,
         "Name of the cluster. Several clusters can use one server under different names."),
    TEXT(cluster_key_file, "cluster", "",
         "the path of a file that other users cannot read", Applies::at_start,
         "File with the keys that seal messages between nodes: a line for each key, base64 of 32 "
         "random bytes. The first seals, all open. Required with cluster."),

    NUMBER(descriptor_reserve, "operation", "", 64, 0, 4294967295,
           "Descriptors that stay free for the host application. When fewer are left, upgrades are "
           "refused with 503 full."),
    CHOICE(log_level, "operation", WAYSTATION_LOG_INFO, "error, warning, info or debug", kLogLevels,
           "Least severe messages to log. debug also explains each refusal, error frame and close."),
};
// clang-format on
#undef FIELD
#undef ROW
#undef NUMBER
#undef NUMBER_OR_ZERO
#undef BOOLEAN
#undef CHOICE
#undef TEXT
#undef LIST

}  // namespace

std::span<const waystation_option_info> option_table() noexcept {
  return kOptions;
}

const waystation_option_info* find_option(std::string_view name) noexcept {
  const auto* const found = std::ranges::find_if(
      kOptions, [&](const auto& info) { return std::string_view(info.name) == name; });
  return found == kOptions.end() ? nullptr : found;
}

std::uint64_t number_in(const waystation_options& options,
                        const waystation_option_info& info) noexcept {
  const auto* const field = reinterpret_cast<const unsigned char*>(&options) + info.field_offset;
  if (info.field_size == sizeof(std::uint64_t)) {
    std::uint64_t number = 0;
    std::memcpy(&number, field, sizeof number);
    return number;
  }
  std::uint32_t number = 0;  // a negative int becomes greater than every maximum
  std::memcpy(&number, field, sizeof number);
  return number;
}

waystation_options default_options() noexcept {
  waystation_options options{};
  options.size = sizeof options;
  for (const auto& info : kOptions) {
    auto* const field = reinterpret_cast<unsigned char*>(&options) + info.field_offset;
    if (info.type == WAYSTATION_OPTION_TEXT || info.type == WAYSTATION_OPTION_LIST) {
      const char* const text = *info.default_text == '\0' ? nullptr : info.default_text;
      std::memcpy(field, &text, sizeof text);
    } else if (info.field_size == sizeof(std::uint64_t)) {
      std::memcpy(field, &info.default_number, sizeof info.default_number);
    } else {
      const auto number = static_cast<std::uint32_t>(info.default_number);
      std::memcpy(field, &number, sizeof number);
    }
  }
  return options;
}

}  // namespace waystation
