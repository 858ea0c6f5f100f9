// What a client says in one text frame, and where in it the value lies that is passed on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace waystation {

/// How a socket speaks: the original protocol, or the subprotocol `waystation.v1`.
enum class Dialect : std::uint8_t { plain, v1 };

/// Where a frame arrived.
enum class SocketKind : std::uint8_t { chat, push };

/// A short text with a bound, held in place.
class ShortText {
 public:
  static constexpr std::size_t kMaxBytes = 64;

  ShortText() = default;
  /// `text` has at most kMaxBytes.
  explicit ShortText(std::string_view text) noexcept;

  std::string_view view() const noexcept { return {bytes_.data(), size_}; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  std::array<char, kMaxBytes> bytes_;
  std::uint8_t size_ = 0;
};

/// A frame that is well-formed. Views point into the frame's text.
struct Envelope {
  enum class Kind : std::uint8_t { message, signal, token, ping };

  Kind kind = Kind::message;
  std::string_view value;    // of `message`, `signal` or `ping`; "null" where plain had none
  std::string token;         // for Kind::token
  bool has_to_user = false;  // `to_user` was there and not null
  ShortText to_user;         // empty where it was no user id at all
  ShortText id;              // empty: none was given
};

/// The codes of {"error":…} frames (module/PROTOCOL.md, "What is checked").
enum class ErrorCode : std::uint8_t {
  bad_json,
  bad_envelope,
  not_a_member,
  rate_limited,
  bad_token
};

/// Their names, in the order of the enumeration; each ends with a NUL.
inline constexpr std::array<std::string_view, 5> kErrorCodeNames{
    "bad_json", "bad_envelope", "not_a_member", "rate_limited", "bad_token"};
inline constexpr std::size_t kErrorCodes = kErrorCodeNames.size();
static_assert(static_cast<std::size_t>(ErrorCode::bad_token) + 1 == kErrorCodes);

constexpr std::string_view error_code_name(ErrorCode code) noexcept {
  return kErrorCodeNames[static_cast<std::size_t>(code)];
}

/// Why a frame was refused. `id` is the frame's, where it could still be read.
struct EnvelopeError {
  ErrorCode code;
  std::string detail;
  ShortText id;
};

/// Reads a frame. `text` must be UTF-8. Unknown names are ignored; which are known depends on the
/// dialect: plain knows `message` and `to_user`, v1 also `id`, `signal`, `token` and, where
/// it is the only one of the four kinds, `ping`.
std::variant<Envelope, EnvelopeError> read_envelope(std::string_view text, Dialect dialect,
                                                    SocketKind kind);

/// Whether `text` may be a message's id: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'.
bool is_message_id(std::string_view text) noexcept;

}  // namespace waystation
