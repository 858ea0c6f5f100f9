#include "relay/missed.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>

#include "relay/json_scanner.hpp"
#include "relay/node_name.hpp"

namespace waystation {
namespace {

// Between the positions of a cursor, and before its `since`.
constexpr char kNextPosition = '~';

constexpr const char* kBadSince =
    "missed: since is not a time; send ms since 1970, a whole number from 0 to 9007199254740991";
constexpr const char* kBadAfter = "missed: after is not valid; send `next` of an earlier answer";

/// A whole number of decimal digits at the front of `text`, which is then removed.
std::optional<std::int64_t> take_number(std::string_view& text) noexcept {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 0 || text.front() == '-') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

std::optional<MissedPosition> parse_position(std::string_view text) {
  MissedPosition position;
  for (auto* const number : {&position.time, &position.id, &position.file}) {
    const auto taken = take_number(text);
    if (!taken || !text.starts_with('-')) return std::nullopt;
    text.remove_prefix(1);
    *number = *taken;
  }
  if (!is_node_name(text)) return std::nullopt;
  position.node = text;
  return position;
}

}  // namespace

MissedPosition MissedCursor::on(std::string_view node) const {
  const auto found = std::ranges::find(positions, node, &MissedPosition::node);
  if (found != positions.end()) return *found;
  return {unnamed_since(), 0, 0, std::string(node)};
}

std::string MissedCursor::text() const {
  std::string text;
  for (const auto& position : positions) {
    if (!text.empty()) text += kNextPosition;
    for (const auto number : {position.time, position.id, position.file}) {
      text.append(std::to_string(number)).append("-");
    }
    text += position.node;
  }
  if (since) (text += kNextPosition) += std::to_string(*since);
  return text;
}

std::optional<MissedCursor> MissedCursor::parse(std::string_view text) {
  if (text.size() > kMaxBytes) return std::nullopt;
  MissedCursor cursor;
  for (bool has_more = true; has_more;) {
    const auto size = std::min(text.find(kNextPosition), text.size());
    has_more = size != text.size();
    const auto part = text.substr(0, size);
    if (auto rest = part; !has_more && !cursor.positions.empty()) {
      const auto time = take_number(rest);
      if (time && rest.empty()) {
        cursor.since = time;
        break;
      }
    }
    auto position = parse_position(part);
    if (!position || cursor.positions.size() == kMaxNodes) return std::nullopt;
    // At most kMaxNodes are compared.
    const auto is_same = [&](const auto& other) { return other.node == position->node; };
    if (std::ranges::any_of(cursor.positions, is_same)) return std::nullopt;
    cursor.positions.push_back(std::move(*position));
    text.remove_prefix(size + (has_more ? 1 : 0));
  }
  return cursor;
}

Result<MissedQuestion, const char*> read_missed(std::string_view object) {
  JsonScanner scanner(object);
  MissedQuestion question;
  bool has_since = false;
  bool has_after = false;
  if (!scanner.accept('{')) {
    return "missed: not an object; send {\"since\": <ms>} or {\"after\": \"<next>\"}";
  }
  scanner.skip_space();
  // The text is JSON, so no step fails. Each is checked nevertheless.
  if (!scanner.accept('}')) {
    do {
      std::string_view escaped;
      std::string_view value;
      scanner.skip_space();
      if (!scanner.string(&escaped)) return kBadSince;
      scanner.skip_space();
      if (!scanner.accept(':') || !scanner.value(&value, 1)) return kBadSince;
      scanner.skip_space();
      // Long enough for the names that count.
      std::array<char, 8> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init)
      const auto name = unescape_ascii(escaped, buffer.data(), buffer.size());
      if (name == "since") {
        if (has_since) return "missed: since occurs twice; send it once";
        has_since = true;
        const auto time = take_number(value);
        if (!time || !value.empty() || *time > kMaxJsonInteger) return kBadSince;
        question.since = *time;
      } else if (name == "after") {
        if (has_after) return "missed: after occurs twice; send it once";
        has_after = true;
        if (value.front() != '"') return kBadAfter;
        const auto escaped_cursor = value.substr(1, value.size() - 2);
        std::string bytes(std::min(escaped_cursor.size(), MissedCursor::kMaxBytes), '\0');
        const auto text = unescape_ascii(escaped_cursor, bytes.data(), bytes.size());
        if (text) question.after = MissedCursor::parse(*text);
        if (!question.after) return kBadAfter;
      }
    } while (scanner.accept(','));
  }
  if (has_since && has_after) return "missed: has both since and after; send only one";
  if (!has_since && !has_after) return "missed: needs one of since and after; send either";
  return question;
}

MissedFailure missed_failure(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::audit_off:
      return {code, "missed: this server keeps no audit; set its option audit_file"};
    case ErrorCode::audit_busy:
      return {code, "missed: too many questions wait; try again in a second"};
    case ErrorCode::rate_limited:
      return {code, "missed: rate limit of the user exceeded; try again in a second"};
    case ErrorCode::timeout:
      return {code, "missed: the answer took too long; ask again later, or with a later since"};
    default:
      return {ErrorCode::audit_unavailable,
              "missed: the audit cannot be read now; try again later"};
  }
}

MissedFailure second_question_failure() noexcept {
  return {ErrorCode::audit_busy, "missed: another question of this user waits; send one at a time"};
}

std::string missed_text(const Missed& missed) {
  // Users and cursors need no escaping.
  std::string text = R"({"missed":{"from":[)";
  for (const auto& sender : missed.from) {
    if (&sender != missed.from.data()) text += ',';
    text.append(R"({"user":")").append(sender.user);
    text.append(R"(","count":)").append(std::to_string(sender.count));
    text.append(R"(,"first":)").append(std::to_string(sender.first));
    text.append(R"(,"last":)").append(std::to_string(sender.last)).append("}");
  }
  text.append(R"(],"notifications":)").append(std::to_string(missed.notifications));
  text.append(R"(,"complete":)").append(missed.complete ? "true" : "false");
  text.append(R"(,"next":")").append(missed.next).append("\"}}");
  return text;
}

}  // namespace waystation
