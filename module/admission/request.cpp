#include "admission/request.hpp"

#include <algorithm>

#include "base/ascii.hpp"

namespace waystation {
namespace {

constexpr bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Decodes a name or value of a query. Nothing if a '%' is not followed by two hexadecimal digits.
std::optional<std::string> decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

struct Pair {
  std::string_view name;
  std::string_view value;
};

/// Removes the first parameter from a query that is not empty.
Pair take_pair(std::string_view& query) noexcept {
  const std::string_view pair = query.substr(0, query.find('&'));
  query.remove_prefix(std::min(pair.size() + 1, query.size()));
  const std::size_t equals = std::min(pair.find('='), pair.size());
  return {pair.substr(0, equals), pair.substr(std::min(equals + 1, pair.size()))};
}

/// The length of "http://" or "https://" at the start of `target`; 0 if it has neither.
std::size_t scheme_length(std::string_view target) noexcept {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (equal_ignoring_case(target.substr(0, scheme.size()), scheme)) return scheme.size();
  }
  return 0;
}

}  // namespace

bool is_before_http_1_1(const Request& request) noexcept {
  return request.version == "1.0" || request.version == "0.9";
}

bool is_server_next(std::string_view bytes) noexcept {
  // A record: content type, 3, minor version, length in two bytes. No request begins like that.
  constexpr std::size_t kRecordHeader = 5;
  const auto octet = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
  if (bytes.size() >= kRecordHeader && octet(0) >= 20 && octet(0) <= 23 && octet(1) == 3) {
    const auto length = static_cast<std::size_t>(octet(3) << 8U | octet(4));
    return bytes.size() - kRecordHeader >= length;
  }
  return bytes.find("\r\n\r\n") != std::string_view::npos;
}

std::optional<Target> split_target(const Request& request) noexcept {
  std::string_view rest = request.target;
  if (rest.find('#') != std::string_view::npos) return std::nullopt;
  Target target;
  if (const std::size_t length = scheme_length(rest); length != 0) {
    target.is_absolute = true;
    rest.remove_prefix(length);
    const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
    target.authority = rest.substr(0, end);
    rest.remove_prefix(end);
    if (target.authority.empty()) return std::nullopt;
  } else if (rest.empty() || rest.front() != '/') {
    return std::nullopt;
  }
  const std::size_t question = rest.find('?');
  target.path = rest.substr(0, question);
  if (target.path.empty()) target.path = "/";
  // Some web servers split off the query, others leave it in the target. If both have one, the
  // target's is what the client sent.
  target.query = question == std::string_view::npos ? request.query : rest.substr(question + 1);
  return target;
}

OneValue header_value(const Request& request, std::string_view name) noexcept {
  OneValue result;
  for (const HeaderField& field : request.headers) {
    if (!equal_ignoring_case(field.name, name)) continue;
    if (result.found != OneValue::Found::none) return {OneValue::Found::several, {}};
    result = {OneValue::Found::one, without_blanks(field.value)};
  }
  return result;
}

Parameter query_parameter(std::string_view query, std::string_view name) {
  auto values = query_values(query, name);
  if (values.empty()) return {};
  if (values.size() > 1) return {Parameter::Found::several, {}};
  if (!values.front()) return {Parameter::Found::malformed, {}};
  return {Parameter::Found::one, std::move(*values.front())};
}

std::vector<std::optional<std::string>> query_values(std::string_view query,
                                                     std::string_view name) {
  std::vector<std::optional<std::string>> values;
  while (!query.empty()) {
    const auto pair = take_pair(query);
    if (decode(pair.name) == name) values.push_back(decode(pair.value));
  }
  return values;
}

std::optional<std::string> unknown_parameter(std::string_view query,
                                             std::span<const std::string_view> known) {
  while (!query.empty()) {
    const auto pair = take_pair(query);
    if (pair.name.empty() && pair.value.empty()) continue;  // as in "a=1&&b=2"
    auto name = decode(pair.name).value_or(std::string(pair.name));
    if (std::ranges::find(known, name) == known.end()) return name;
  }
  return std::nullopt;
}

std::string_view without_blanks(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace waystation
