#include "relay/envelope.hpp"

#include <algorithm>
#include <optional>
#include <span>

#include "relay/json_scanner.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

enum class Name : std::uint8_t { unknown, message, to_user, id, signal, token, missed, ping };

constexpr const char* kRepeatedName = "frame: a known name occurs twice; send each name once";

/// The unescaped contents of a string: the same bytes if nothing is escaped, else a copy in
/// `buffer`. Nothing if that copy is not ASCII or does not fit.
inline std::optional<std::string_view> unescape(std::string_view contents,
                                                std::span<char> buffer) noexcept {
  if (contents.find('\\') == std::string_view::npos) return contents;
  return unescape_ascii(contents, buffer.data(), buffer.size());
}

std::string_view contents_of(std::string_view string) noexcept {
  return string.substr(1, string.size() - 2);
}

Name name_of(std::string_view escaped, Protocol protocol) noexcept {
  // "message" and "to_user" are the longest names: a longer one is unknown.
  std::array<char, 7> buffer;
  const auto name = unescape(escaped, buffer);
  if (!name) return Name::unknown;
  if (*name == "message") return Name::message;
  if (*name == "to_user") return Name::to_user;
  if (protocol == Protocol::plain) return Name::unknown;
  if (*name == "id") return Name::id;
  if (*name == "signal") return Name::signal;
  if (*name == "token") return Name::token;
  if (*name == "missed") return Name::missed;
  if (*name == "ping") return Name::ping;
  return Name::unknown;
}

/// Reads the members of one frame.
class EnvelopeReader {
 public:
  /// The result is written to `envelope`, which must outlive the reader.
  EnvelopeReader(std::string_view text, Protocol protocol, SocketKind kind,
                 Envelope& envelope) noexcept
      : scanner_(text), protocol_(protocol), kind_(kind), envelope_(envelope) {}

  /// False: take_error() returns the reason.
  bool read() {
    scanner_.skip_space();
    if (!scanner_.at_end() && scanner_.peek() != '{') {
      // An error in any case. Its code depends on whether the text is JSON.
      std::string_view value;
      if (!scanner_.value(&value) || !scanner_.end()) return bad_json();
      return bad_envelope("frame: not an object; send one JSON object");
    }
    if (!scanner_.expect('{', "the text is empty")) return bad_json();
    scanner_.skip_space();
    if (!scanner_.accept('}')) {
      do {
        if (!read_member()) return false;
        scanner_.skip_space();
      } while (scanner_.accept(','));
      if (!scanner_.expect('}', "expected ',' or '}'")) return bad_json();
    }
    if (!scanner_.end()) return bad_json();
    return problem_ == nullptr ? check_kind() : bad_envelope(problem_);
  }

  EnvelopeError take_error() { return std::move(*error_); }

 private:
  bool read_member() {
    std::string_view escaped;
    std::string_view value;
    scanner_.skip_space();
    if (!scanner_.string(&escaped)) return bad_json();
    scanner_.skip_space();
    if (!scanner_.expect(':', "expected ':' after a name")) return bad_json();
    if (!scanner_.value(&value, 1)) return bad_json();
    const auto name = name_of(escaped, protocol_);
    if (name == Name::unknown) return true;
    if (name == Name::ping) {
      // In a frame of another kind, ping is ignored like an unknown name.
      ++pings_;
      ping_ = value;
      return true;
    }
    const auto bit = 1U << static_cast<unsigned>(name);
    if ((seen_ & bit) != 0) return note(kRepeatedName);
    seen_ |= bit;
    take(name, value);
    return true;
  }

  void take(Name name, std::string_view value) {
    switch (name) {
      case Name::message:
      case Name::signal:
      case Name::missed:
        envelope_.value = value;
        break;
      case Name::to_user:
        take_to_user(value);
        break;
      case Name::id:
        take_id(value);
        break;
      case Name::token:
        take_token(value);
        break;
      case Name::unknown:
      case Name::ping:
        break;
    }
  }

  void take_to_user(std::string_view value) {
    if (value == "null") return;
    if (value.front() != '"') {
      note("to_user: not a string; send a user id, or null for the other user");
      return;
    }
    envelope_.has_to_user = true;
    std::array<char, ShortText::kMaxBytes> buffer;
    const auto user = unescape(contents_of(value), buffer);
    if (user && is_user_id(*user)) envelope_.to_user = ShortText(*user);
  }

  void take_id(std::string_view value) {
    if (value == "null") return;
    std::array<char, ShortText::kMaxBytes> buffer;
    const auto id = value.front() != '"' ? std::nullopt : unescape(contents_of(value), buffer);
    if (!id || !is_message_id(*id)) {
      note("id: not valid; allowed are 1 to 64 of the characters A-Z, a-z, 0-9, _ and -");
      return;
    }
    envelope_.id = ShortText(*id);
  }

  void take_token(std::string_view value) {
    if (value.front() != '"') {
      note("token: not a string; send a JWT");
      return;
    }
    envelope_.token.resize(value.size() - 2);
    const auto token =
        unescape_ascii(contents_of(value), envelope_.token.data(), envelope_.token.size());
    if (!token) {
      note("token: not ASCII; send a JWT");
      return;
    }
    envelope_.token.resize(token->size());
  }

  bool check_kind() {
    const auto has = [this](Name name) { return (seen_ >> static_cast<unsigned>(name) & 1U) != 0; };
    const int kinds = has(Name::message) + has(Name::signal) + has(Name::token) + has(Name::missed);
    if (protocol_ == Protocol::plain) {
      if (kinds == 0) envelope_.value = "null";
      return true;
    }
    if (kinds > 1) {
      return bad_envelope(
          "frame: more than one of message, signal, token and missed; send one in each frame");
    }
    if (kinds == 0 && pings_ != 0) {
      if (pings_ > 1) return bad_envelope(kRepeatedName);
      envelope_.kind = Envelope::Kind::ping;
      envelope_.value = ping_;
      return true;
    }
    if (kind_ == SocketKind::push && !has(Name::token) && !has(Name::missed)) {
      return bad_envelope(
          "frame: not allowed on a push socket; send token, missed or ping, or use a chat socket");
    }
    if (kind_ == SocketKind::chat && has(Name::missed)) {
      return bad_envelope("missed: not allowed on a chat socket; use a push socket");
    }
    if (kinds == 0)
      return bad_envelope("frame: no message, signal, token or ping; send one of them");
    if (has(Name::signal)) envelope_.kind = Envelope::Kind::signal;
    if (has(Name::token)) envelope_.kind = Envelope::Kind::token;
    if (has(Name::missed)) envelope_.kind = Envelope::Kind::missed;
    return true;
  }

  /// Keeps the first problem of the envelope, which is reported if the whole text is JSON.
  bool note(const char* problem) {
    if (problem_ == nullptr) problem_ = problem;
    return true;
  }

  bool bad_envelope(std::string detail) {
    error_.emplace(EnvelopeError{ErrorCode::bad_envelope, std::move(detail), envelope_.id});
    return false;
  }

  bool bad_json() {
    error_.emplace(EnvelopeError{ErrorCode::bad_json,
                                 "frame: not JSON at byte " + std::to_string(scanner_.position()) +
                                     ", " + scanner_.problem() + "; send one JSON object",
                                 {}});
    return false;
  }

  JsonScanner scanner_;
  Protocol protocol_;
  SocketKind kind_;
  unsigned seen_ = 0;  // a bit for each Name
  Envelope& envelope_;
  const char* problem_ = nullptr;
  int pings_ = 0;
  std::string_view ping_;  // the value of the last one
  std::optional<EnvelopeError> error_;
};

}  // namespace

ShortText::ShortText(std::string_view text) noexcept
    : size_(static_cast<std::uint8_t>(text.size())) {
  text.copy(bytes_.data(), text.size());
}

bool is_message_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= ShortText::kMaxBytes &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

Result<Envelope, EnvelopeError> read_envelope(std::string_view text, Protocol protocol,
                                              SocketKind kind) {
  // Filled in place: an Envelope is large, and copies would show.
  Result<Envelope, EnvelopeError> frame;
  EnvelopeReader reader(text, protocol, kind, *frame);
  if (!reader.read()) frame = reader.take_error();
  return frame;
}

}  // namespace waystation
