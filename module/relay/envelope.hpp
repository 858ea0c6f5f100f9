// The contents of one text frame from a client.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace waystation {

/// The protocol of a socket: the original one, or the subprotocol `waystation.v1`.
enum class Protocol : std::uint8_t { plain, v1 };

/// The kind of a socket, by its path: /ws/chat/ or /push/.
enum class SocketKind : std::uint8_t { chat, push };

/// A short text, stored in place.
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

/// A valid frame. Views point into the text of the frame.
struct Envelope {
  enum class Kind : std::uint8_t { message, signal, token, ping, missed };

  Kind kind = Kind::message;
  std::string_view value;    // of message, signal, ping or missed; "null" if a plain frame has none
  std::string token;         // for Kind::token
  bool has_to_user = false;  // to_user is present and not null
  ShortText to_user;         // empty if it is not a valid user id
  ShortText id;              // empty: the frame has none
};

/// The codes of {"error":…} frames (module/PROTOCOL.md, "What is checked").
enum class ErrorCode : std::uint8_t {
  bad_json,
  bad_envelope,
  not_a_member,
  rate_limited,
  bad_token,
  audit_off,
  audit_unavailable,
  audit_busy,
  timeout,
  unavailable,  // several nodes: not passed on
  undecided,    // several nodes: whether it was passed on is not known
};

/// Their names, in the order of the enumeration; each ends with a NUL.
inline constexpr std::array<std::string_view, 11> kErrorCodeNames{
    "bad_json",          "bad_envelope", "not_a_member", "rate_limited", "bad_token", "audit_off",
    "audit_unavailable", "audit_busy",   "timeout",      "unavailable",  "undecided"};
inline constexpr std::size_t kErrorCodes = kErrorCodeNames.size();
static_assert(static_cast<std::size_t>(ErrorCode::undecided) + 1 == kErrorCodes);

constexpr std::string_view error_code_name(ErrorCode code) noexcept {
  return kErrorCodeNames[static_cast<std::size_t>(code)];
}

/// Why a frame is refused. `id` is the id of the frame, if it could be read.
struct EnvelopeError {
  ErrorCode code;
  std::string detail;
  ShortText id;
};

/// Reads a frame. `text` must be UTF-8. Unknown names are ignored. Plain has the names `message`
/// and `to_user`; v1 also has `id`, `signal`, `token`, `missed` on push sockets, and `ping` if the
/// frame has none of the others. Throws std::bad_alloc.
Result<Envelope, EnvelopeError> read_envelope(std::string_view text, Protocol protocol,
                                              SocketKind kind);

/// Whether `text` is a valid message id: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'.
bool is_message_id(std::string_view text) noexcept;

}  // namespace waystation
