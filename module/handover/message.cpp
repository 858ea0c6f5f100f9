#include "handover/message.hpp"

#include <string.h>  // explicit_bzero

#include <algorithm>
#include <utility>

#include "base/byte_reader.hpp"
#include "base/byte_writer.hpp"

namespace waystation {
namespace {

constexpr std::uint8_t kVersion = 1;
enum Kind : std::uint8_t { kAsk = 1, kGive = 2, kRefuse = 3, kHere = 4 };

constexpr std::uint8_t kMaxMinor = 9;  // versions have one digit each (RFC 9112 section 2.3)

constexpr std::uint16_t kAskTls = 1;
constexpr std::uint16_t kAskUser = 2;
constexpr std::uint16_t kHerePumped = 1;

/// What is wrong with the first two bytes of a message, or empty.
std::string_view problem_with_begin(ByteReader& in, Kind kind) {
  const auto version = in.u8();
  const auto found = in.u8();
  if (in.is_short()) return "the message is empty";
  if (version != kVersion) return "the version is unknown; known is 1";
  return found == kind ? "" : "the message is of another kind than the one that is due";
}

bool is_one_line(std::string_view text) noexcept {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

using Field = std::pair<std::string_view, std::string_view>;

/// The fields of a response, without those that the asker adds.
std::vector<Field> fields_of(const HttpResponse& response) {
  std::vector<Field> fields;
  if (response.status != 204) fields.emplace_back("Content-Type", response.content_type);
  for (const auto& [name, value] : kFixedFields) fields.emplace_back(name, value);
  for (const auto& [name, value] : response.headers) {
    if (is_one_line(name) && is_one_line(value)) fields.emplace_back(name, value);
  }
  return fields;
}

}  // namespace

Result<std::unique_ptr<const Ask>, Refusal> Ask::parse(std::span<const char> message) {
  if (message.size() > HandoverLimits::kAskBytes) {
    return Refusal{.code = RefusalCode::too_many_fields, .log_detail = "over 65536 bytes"};
  }
  auto ask = std::make_unique<Ask>(Private{});
  ask->bytes_.assign(message.begin(), message.end());
  const auto problem = ask->read();
  if (!problem.empty()) return bad_handover(std::string(problem));
  if (ask->fields_.size() > HandoverLimits::kAskFields) {
    return Refusal{.code = RefusalCode::too_many_fields, .log_detail = "over 256 header fields"};
  }
  return std::unique_ptr<const Ask>(std::move(ask));
}

Ask::~Ask() {
  if (!bytes_.empty()) explicit_bzero(bytes_.data(), bytes_.size());
}

std::string_view Ask::read() {
  ByteReader in(bytes_);
  if (const auto problem = problem_with_begin(in, kAsk); !problem.empty()) return problem;
  const auto flags = in.u16();
  const auto major = in.u8();
  // A higher minor version is a request like any other (RFC 9110 section 2.5).
  const auto minor = std::min(in.u8(), kMaxMinor);
  request_.remote_port = in.u16();
  request_.local_port = in.u16();
  const std::size_t key = in.u16();
  const std::size_t address = in.u16();
  const std::size_t method = in.u16();
  const std::size_t target = in.u16();
  const std::size_t user = in.u16();
  const std::size_t scopes = in.u16();
  const std::size_t field_count = in.u16();
  handed_over_.key = in.text(key);
  request_.remote_address = in.text(address);
  request_.method = in.text(method);
  request_.target = in.text(target);
  handed_over_.user = in.text(user);
  handed_over_.scopes = in.text(scopes);
  // One more than allowed is enough to refuse them.
  const auto reading = std::min(field_count, HandoverLimits::kAskFields + 1);
  fields_.reserve(std::min(reading, in.left() / 5));  // each has at least 5 bytes
  bool are_lines = true;
  for (std::size_t i = 0; i < reading && !in.is_short(); ++i) {
    const std::size_t name = in.u16();
    const std::size_t value = in.u16();
    const auto& field = fields_.emplace_back(HeaderField{in.text(name), in.text(value)});
    are_lines = are_lines && is_one_line(field.name) && is_one_line(field.value);
    if (name == 0 && !in.is_short()) return "a header field has no name";
  }
  if (in.is_short()) return "the message is shorter than its lengths say";
  if (fields_.size() <= HandoverLimits::kAskFields && !in.is_complete()) {
    return "the message is longer than its lengths say";
  }
  if ((flags & ~unsigned{kAskTls | kAskUser}) != 0) return "an unknown flag is set";
  if (major > 9) return "the HTTP version is not one";
  if (key > HandoverLimits::kKey || address > HandoverLimits::kAddress || method == 0 ||
      method > HandoverLimits::kMethod || user > HandoverLimits::kUser ||
      scopes > HandoverLimits::kScopes) {
    return "a length is out of range";
  }
  const bool names_user = (flags & kAskUser) != 0;
  if (names_user != (user != 0) || (!names_user && scopes != 0)) {
    return "the flag of the user and the lengths of user and scopes do not fit each other";
  }
  for (const auto text : {request_.remote_address, request_.method, request_.target,
                          handed_over_.user, handed_over_.scopes}) {
    are_lines = are_lines && is_one_line(text);
  }
  if (!are_lines) return "a text holds a NUL or a line break";

  version_ = {static_cast<char>('0' + major), '.', static_cast<char>('0' + minor)};
  request_.version = {version_.data(), version_.size()};
  request_.is_tls = (flags & kAskTls) != 0;
  request_.headers = fields_;
  request_.handed_over = &handed_over_;
  return {};
}

Result<Here, std::string> Here::parse(std::span<const char> message) {
  ByteReader in(message);
  if (const auto problem = problem_with_begin(in, kHere); !problem.empty()) {
    return std::string(problem);
  }
  const auto flags = in.u16();
  const auto size = in.u32();
  const Here here{(flags & kHerePumped) != 0, in.text(size)};
  if (in.is_short()) return std::string("the message is shorter than its length says");
  if (!in.is_complete()) return std::string("the message is longer than its length says");
  if (size > HandoverLimits::kEarlyBytes) return std::string("there are over 65535 early bytes");
  if ((flags & ~unsigned{kHerePumped}) != 0) return std::string("an unknown flag is set");
  return here;
}

Refusal bad_handover(std::string problem) {
  return {.code = RefusalCode::bad_handover, .log_detail = std::move(problem)};
}

std::string give_message() {
  std::string message;
  ByteWriter out(message);
  out.u8(kVersion);
  out.u8(kGive);
  out.u16(0);
  return message;
}

std::string refuse_message(std::string_view code, const HttpResponse& response) {
  const auto fields = fields_of(response);
  const std::string_view body = response.status == 204 ? std::string_view() : response.body;
  std::string message;
  ByteWriter out(message);
  out.u8(kVersion);
  out.u8(kRefuse);
  out.number(static_cast<std::uint64_t>(response.status), 2);
  out.number(code.size(), 2);
  out.number(fields.size(), 2);
  out.number(body.size(), 4);
  out.text(code);
  for (const auto& [name, value] : fields) {
    out.number(name.size(), 2);
    out.number(value.size(), 2);
    out.text(name);
    out.text(value);
  }
  out.text(body);
  if (message.size() > HandoverLimits::kRefuseBytes ||
      fields.size() > HandoverLimits::kRefuseFields) {
    const auto& info = info_of(RefusalCode::internal);
    return refuse_message(info.name, to_response({.code = RefusalCode::internal}));
  }
  return message;
}

}  // namespace waystation
