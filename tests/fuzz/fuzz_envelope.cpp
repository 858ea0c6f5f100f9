// Frames of clients. A second parser confirms that accepted frames are JSON and that frames refused
// as invalid JSON are not. The value passed on is a JSON text within the frame. The first byte
// selects protocol and route.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <variant>
#include <vector>

#include "fuzz/reference_json.hpp"
#include "relay/envelope.hpp"
#include "relay/json_scanner.hpp"
#include "relay/missed.hpp"
#include "relay/names.hpp"

using namespace waystation;
using test::ReferenceJson;

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // In a separate allocation, so that the sanitizer reports a read beyond the end.
  const std::vector<char> bytes(data + 1, data + size);
  const std::string_view text(bytes.data(), bytes.size());
  const auto protocol = (data[0] & 1U) != 0 ? Protocol::v1 : Protocol::plain;
  const auto kind = (data[0] & 2U) != 0 ? SocketKind::push : SocketKind::chat;

  const bool is_good = ReferenceJson::is_json(text, kMaxJsonLevels);
  must(is_json(text) == is_good);

  const auto frame = read_envelope(text, protocol, kind);
  if (!frame) {
    const auto& error = frame.error();
    must((error.code == ErrorCode::bad_json) == !is_good);
    must(is_good || error.code == ErrorCode::bad_json);
    must(!error.detail.empty());
    return 0;
  }
  must(is_good);
  must(text[text.find_first_not_of(" \t\r\n")] == '{');
  const auto& envelope = *frame;
  must(envelope.id.empty() || is_message_id(envelope.id.view()));
  must(envelope.to_user.empty() || is_user_id(envelope.to_user.view()));
  must(envelope.has_to_user || envelope.to_user.empty());
  if (envelope.kind == Envelope::Kind::token) {
    must(protocol == Protocol::v1);
    return 0;
  }
  if (envelope.kind == Envelope::Kind::missed) {
    must(protocol == Protocol::v1 && kind == SocketKind::push);
    const auto question = read_missed(envelope.value);
    must(!question || (question->since >= 0 && question->since <= kMaxJsonInteger));
    if (question && question->after) {
      const auto again = MissedCursor::parse(question->after->text());
      must(again && again->text() == question->after->text());
    }
  }
  const bool is_ping = envelope.kind == Envelope::Kind::ping;
  must(!is_ping || protocol == Protocol::v1);
  must(is_ping || protocol == Protocol::plain ||
       (kind == SocketKind::chat) == (envelope.kind != Envelope::Kind::missed));
  const auto value = envelope.value;
  must(ReferenceJson::is_json(value, kMaxJsonLevels - 1));
  must(!value.empty() && std::string_view(" \t\r\n").find(value.front()) == std::string_view::npos);
  must(std::string_view(" \t\r\n").find(value.back()) == std::string_view::npos);
  const bool is_within =
      value.data() >= text.data() && value.data() + value.size() <= text.data() + text.size();
  must(is_within || (protocol == Protocol::plain && value == "null"));
  return 0;
}
