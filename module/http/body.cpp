#include "http/body.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace waystation {
namespace {

Refusal too_large(std::size_t max_bytes) {
  return {RefusalCode::too_large,
          "the body may have up to " + std::to_string(max_bytes) + " bytes (max_message_bytes)"};
}

/// Parses a Content-Length (RFC 9110, section 8.6). Nothing if it is not a number. Saturates.
std::optional<std::size_t> parse_length(std::string_view text) noexcept {
  std::size_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (end != text.data() + text.size() || error == std::errc::invalid_argument) return {};
  return error == std::errc{} ? length : static_cast<std::size_t>(-1);
}

}  // namespace

Result<std::string_view, Refusal> read_body(const Request& request, const BodyLimits& limits,
                                            std::string& buffer) {
  if (request.body_source.read == nullptr) {
    if (request.body_truncated || request.body.size() > limits.max_bytes) {
      return too_large(limits.max_bytes);
    }
    return request.body;
  }

  if (!header_value(request, "Transfer-Encoding").is_none()) {
    return Refusal{RefusalCode::length_required};
  }
  const OneValue field = header_value(request, "Content-Length");
  const auto length = field.is_none() ? std::size_t{0} : parse_length(field.value);
  if (!length) return Refusal{RefusalCode::bad_request, "Content-Length must be one number"};
  if (*length > limits.max_bytes) return too_large(limits.max_bytes);

  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  std::array<char, 4096> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  buffer.clear();                // grows with the bytes that arrive, not with Content-Length
  while (buffer.size() < *length) {
    const auto want = std::min(chunk.size(), *length - buffer.size());
    const int got = request.body_source.read(request.body_source.data, chunk.data(), want);
    if (got < 0) return Refusal{RefusalCode::bad_request, "the body broke off before its end"};
    buffer.append(chunk.data(), std::min(static_cast<std::size_t>(got), want));
    const bool is_late = Clock::now() - start >= limits.timeout;
    if (buffer.size() < *length && (got == 0 || is_late)) return Refusal{RefusalCode::body_timeout};
  }
  return std::string_view(buffer);
}

}  // namespace waystation
