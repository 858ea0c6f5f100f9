#include "embed/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>
#include <numeric>

#include "embed/addresses.hpp"
#include "embed/utf8.hpp"

namespace waystation::server {
namespace {

constexpr std::uint64_t kMillion = 1'000'000;
constexpr std::uint64_t kGigabyte = 1'073'741'824;

bool is_listener(std::string_view text) {
  return parse_listen_address(text).has_value();
}

bool is_auth(std::string_view text) {
  return text == "open" || text == "jwt" || text == "header";
}

bool is_log_level(std::string_view text) {
  return text == "error" || text == "warning" || text == "info" || text == "debug";
}

bool is_log_format(std::string_view text) {
  return text == "text" || text == "json";
}

/// The characters of a header field's name (RFC 9110, section 5.6.2).
bool is_field_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view{"!#$%&'*+-.^_`|~"}.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool is_field_name_or_empty(std::string_view text) {
  return text.empty() || is_field_name(text);
}

constexpr std::string_view kAnyText = "any text";
constexpr std::string_view kBlocks =
    "a list of addresses and CIDR blocks, such as 192.0.2.7 or 10.0.0.0/8";

const std::array kOptions = {
    Option{
        .key = "listen",
        .field = &Settings::listen,
        .doc = "where to listen: ADDRESS:PORT or [V6ADDRESS]:PORT, several allowed; port 0: any",
        .allowed = "a list of numeric addresses with a port, such as 127.0.0.1:8080 or [::1]:8080",
        .accepts = is_listener,
        .objection = listen_address_objection,
        .needs_restart = true},
    Option{.key = "www",
           .field = &Settings::www,
           .doc = "folder of static files to serve; empty: none",
           .allowed = "the path of a folder, or nothing"},

    Option{.key = "auth",
           .field = &Settings::auth,
           .doc = "who says who the caller is: open (the caller), jwt (a token), header (a proxy)",
           .allowed = "open, jwt or header",
           .accepts = is_auth},
    Option{.key = "jwt_key_file",
           .field = &Settings::jwt_key_file,
           .doc = "file with the keys that tokens are signed with",
           .allowed = "the path of a file"},
    Option{.key = "jwt_issuer",
           .field = &Settings::jwt_issuer,
           .doc = "who must have issued a token (iss); empty: anyone with the key",
           .allowed = kAnyText},
    Option{.key = "jwt_audience",
           .field = &Settings::jwt_audience,
           .doc = "whom a token must be meant for (aud), one of these; empty: anyone",
           .allowed = "a list of texts without commas"},
    Option{.key = "identity_header",
           .field = &Settings::identity_header,
           .doc = "header field in which a trusted proxy names the user",
           .allowed = "the name of a header field, such as X-Forwarded-User",
           .accepts = is_field_name},
    Option{.key = "scopes_header",
           .field = &Settings::scopes_header,
           .doc = "header field in which a trusted proxy names the scopes; empty: no scopes",
           .allowed = "the name of a header field, or nothing",
           .accepts = is_field_name_or_empty},
    Option{.key = "trusted_proxies",
           .field = &Settings::trusted_proxies,
           .doc = "proxies whose forwarding header fields are believed: addresses, CIDR blocks",
           .allowed = kBlocks,
           .accepts = is_address_or_block},
    Option{.key = "allowed_origins",
           .field = &Settings::allowed_origins,
           .doc = "other sites whose pages may connect, such as https://chat.example",
           .allowed = "a list of origins, scheme://host[:port]"},
    Option{.key = "allowed_hosts",
           .field = &Settings::allowed_hosts,
           .doc = "host names under which the open mode may be reached on a network",
           .allowed = "a list of host names, each with or without a port"},
    Option{.key = "operators",
           .field = &Settings::operators,
           .doc = "who may see /healthz and, in open mode, push: addresses, CIDR blocks",
           .allowed = kBlocks,
           .accepts = is_address_or_block},
    Option{.key = "allow_open_network",
           .field = &Settings::allow_open_network,
           .doc = "let auth = \"open\" serve more than this machine: anyone can be anyone",
           .allowed = "true or false"},
    Option{.key = "allow_query_token",
           .field = &Settings::allow_query_token,
           .doc = "take tokens from ?access_token= too, where logs of proxies may keep them",
           .allowed = "true or false"},

    Option{.key = "max_connections",
           .field = &Settings::max_connections,
           .doc = "sockets in all; 0: as many as there are descriptors",
           .allowed = "a whole number from 0 to 10000000",
           .highest = 10 * kMillion},
    Option{.key = "max_connections_per_user",
           .field = &Settings::max_connections_per_user,
           .doc = "sockets of one user; 0: no limit",
           .allowed = "a whole number from 0 to 1000000",
           .highest = kMillion},
    Option{.key = "max_connections_per_address",
           .field = &Settings::max_connections_per_address,
           .doc = "sockets from one client address; 0: no limit",
           .allowed = "a whole number from 0 to 10000000",
           .highest = 10 * kMillion},
    Option{.key = "max_message_bytes",
           .field = &Settings::max_message_bytes,
           .doc = "the longest frame a client may send",
           .allowed = "a whole number from 1 to 1073741824",
           .lowest = 1,
           .highest = kGigabyte},
    Option{.key = "max_queue_bytes",
           .field = &Settings::max_queue_bytes,
           .doc = "what may wait for one slow socket before it is closed",
           .allowed = "a whole number from 1 to 1099511627776",
           .lowest = 1,
           .highest = 1024 * kGigabyte},
    Option{.key = "max_total_queue_bytes",
           .field = &Settings::max_total_queue_bytes,
           .doc = "what may wait for all sockets together",
           .allowed = "a whole number from 1 to 1099511627776",
           .lowest = 1,
           .highest = 1024 * kGigabyte},
    Option{.key = "messages_per_second",
           .field = &Settings::messages_per_second,
           .doc = "messages a second that a user may send; 0: no limit",
           .allowed = "a whole number from 0 to 1000000",
           .highest = kMillion},
    Option{.key = "message_burst",
           .field = &Settings::message_burst,
           .doc = "messages that a user may send at once before that rate holds",
           .allowed = "a whole number from 1 to 1000000",
           .lowest = 1,
           .highest = kMillion},
    Option{.key = "busy_poll_microseconds",
           .field = &Settings::busy_poll_microseconds,
           .doc = "how long to look for work before sleeping: less delay for more CPU",
           .allowed = "a whole number from 0 to 1000000",
           .highest = kMillion},
    Option{.key = "ping_interval_seconds",
           .field = &Settings::ping_interval_seconds,
           .doc = "how often a silent socket is asked whether it lives",
           .allowed = "a whole number from 1 to 3600",
           .lowest = 1,
           .highest = 3600},

    Option{.key = "audit",
           .field = &Settings::audit,
           .doc = "file that keeps what was pushed and what reached nobody, never what it said; "
                  "empty: none",
           .allowed = "the path of a file in a folder that is there, or nothing",
           .needs_restart = true},
    Option{.key = "audit_retention_days",
           .field = &Settings::audit_retention_days,
           .doc = "older rows are taken out of it; 0: whatever their age",
           .allowed = "a whole number from 0 to 36500",
           .highest = 36500},
    Option{.key = "audit_max_bytes",
           .field = &Settings::audit_max_bytes,
           .doc = "beyond this size its oldest rows are taken out; 0: whatever the size",
           .allowed = "0, or a whole number from 1048576 to 1099511627776",
           .highest = 1024 * kGigabyte},

    Option{.key = "log_level",
           .field = &Settings::log_level,
           .doc = "what to write to standard error: error, warning, info or debug",
           .allowed = "error, warning, info or debug",
           .accepts = is_log_level},
    Option{.key = "log_format",
           .field = &Settings::log_format,
           .doc = "how: text or json, one line an event",
           .allowed = "text or json",
           .accepts = is_log_format},
};

/// The edits that turn one word into the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const auto above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> entries;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto entry = trimmed(text.substr(0, comma));
    if (!entry.empty()) entries.emplace_back(entry);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return entries;
}

std::string toml_string(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string out = "\"";
  while (!text.empty()) {
    const auto length = utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      out += kReplacement;  // TOML is UTF-8, and so are terminals
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04X", static_cast<unsigned>(c));
      out += escape.data();
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + '"';
}

/// What of a value is not allowed.
struct Objection {
  std::string value;  // in quotes or as a number; empty: all is allowed
  std::string why;    // empty: what is allowed says it
};

Objection objection(const Option& option, const Value& value) {
  const auto text_is_good = [&](const std::string& text) {
    // A NUL would end it early in the library, which takes C strings; a comma separates there. The
    // file cannot hold what is no UTF-8, and `config show` could not say it.
    return text.find('\0') == std::string::npos && is_utf8(text) &&
           (!option.accepts || option.accepts(text));
  };
  const auto against = [&](const std::string& text) {
    return Objection{quoted(text) + (is_utf8(text) ? "" : " (not UTF-8)"),
                     option.objection != nullptr ? option.objection(text) : std::string{}};
  };
  if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    if (*number < option.lowest || *number > option.highest) {
      return {std::to_string(*number), {}};
    }
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    if (!text_is_good(*text)) return against(*text);
  } else if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    for (const auto& entry : *list) {
      const bool is_one = !entry.empty() && entry.find(',') == std::string::npos;
      if (!is_one || !text_is_good(entry)) return against(entry);
    }
  }
  return {};
}

}  // namespace

std::string Option::flag() const {
  std::string name = "--" + std::string{key};
  std::ranges::replace(name, '_', '-');
  return name;
}

std::string Option::environment() const {
  std::string name = "WAYSTATION_";
  for (const char c : key) name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

bool Option::is_list() const {
  return std::holds_alternative<std::vector<std::string> Settings::*>(field);
}

bool Option::is_switch() const {
  return std::holds_alternative<bool Settings::*>(field);
}

std::span<const Option> all_options() {
  return kOptions;
}

const Option* find_option(std::string_view key) {
  const auto found = std::ranges::find(kOptions, key, &Option::key);
  return found == kOptions.end() ? nullptr : &*found;
}

std::string_view nearest_key(std::string_view key) {
  std::string_view nearest;
  // Further away than a third of its letters, a word is another word.
  auto least = std::max<std::size_t>(key.size() / 3, 2) + 1;
  for (const auto& option : kOptions) {
    const auto edits = distance(key, option.key);
    if (edits < least) {
      least = edits;
      nearest = option.key;
    }
  }
  return nearest;
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  const auto shown = toml_string(text.substr(0, kLongest));
  return text.size() > kLongest ? shown + "..." : shown;
}

ConfigurationError not_allowed(const Option& option, std::string_view value, std::string_view where,
                               std::string_view why) {
  return ConfigurationError{std::string{option.key} + " = " + std::string{value} + " (" +
                            std::string{where} + "): " + std::string{why} +
                            (why.empty() ? "" : "; ") + "allowed is " +
                            std::string{option.allowed}};
}

Value parse_value(const Option& option, std::string_view text, std::string_view where) {
  return std::visit(
      [&]<typename T>(T Settings::*) -> Value {
        if constexpr (std::is_same_v<T, bool>) {
          if (text == "true" || text == "1") return true;
          if (text == "false" || text == "0") return false;
          throw not_allowed(option, quoted(text), where);
        } else if constexpr (std::is_same_v<T, std::uint64_t>) {
          std::uint64_t number = 0;
          const auto end = text.data() + text.size();
          const auto [stop, error] = std::from_chars(text.data(), end, number);
          if (text.empty() || error != std::errc{} || stop != end) {
            throw not_allowed(option, quoted(text), where);
          }
          return number;
        } else if constexpr (std::is_same_v<T, std::string>) {
          return std::string{text};
        } else {
          return split(text);
        }
      },
      option.field);
}

void assign(const Option& option, Value value, std::string_view where, Settings& settings) {
  std::visit(
      [&]<typename T>(T Settings::*field) {
        auto* right = std::get_if<T>(&value);
        if (!right) throw not_allowed(option, to_toml(value), where);
        if (const auto wrong = objection(option, value); !wrong.value.empty()) {
          throw not_allowed(option, wrong.value, where, wrong.why);
        }
        settings.*field = std::move(*right);
      },
      option.field);
}

Value value_of(const Option& option, const Settings& settings) {
  return std::visit([&](const auto field) -> Value { return settings.*field; }, option.field);
}

std::string to_toml(const Value& value) {
  return std::visit(
      []<typename T>(const T& v) -> std::string {
        if constexpr (std::is_same_v<T, bool>) {
          return v ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::uint64_t>) {
          return std::to_string(v);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return toml_string(v);
        } else {
          std::string out = "[";
          for (const auto& entry : v) out += (out.size() > 1 ? ", " : "") + toml_string(entry);
          return out + "]";
        }
      },
      value);
}

}  // namespace waystation::server
