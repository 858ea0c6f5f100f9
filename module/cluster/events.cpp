#include "cluster/events.hpp"

#include <algorithm>

#include "base/byte_reader.hpp"
#include "cluster/incarnation.hpp"

namespace waystation {
namespace {

using Kind = ClusterEvent::Kind;
using Problem = std::string_view;

/// Scripts write states and verdicts as digits.
template <typename Enum>
bool read_digit(ByteReader& in, Enum last, Enum& value) noexcept {
  const auto digit = static_cast<unsigned>(in.u8()) - '0';
  if (digit > static_cast<unsigned>(last)) return false;
  value = static_cast<Enum>(digit);
  return true;
}

}  // namespace

Result<ClusterEvent, std::string_view> read_event(std::string_view payload) noexcept {
  ByteReader in(payload);
  ClusterEvent event{};
  event.kind = static_cast<Kind>(in.u8());
  switch (event.kind) {
    case Kind::frame:
      event.frame = payload;
      return event;
    case Kind::verdict:
      if (!read_digit(in, Verdict::unavailable, event.verdict))
        return Problem("an unknown verdict");
      event.reached = in.u32();
      event.frame = in.text(in.left());
      break;
    case Kind::presence:
      if (!read_digit(in, Presence::unknown, event.presence) ||
          !read_digit(in, Side::hi, event.side)) {
        return Problem("an unknown presence or side");
      }
      event.name = in.text(in.left());
      break;
    case Kind::reachable:
      if (!read_digit(in, Presence::unknown, event.presence)) return Problem("an unknown presence");
      event.name = in.text(in.left());
      break;
    case Kind::recount:
      event.token = in.u32();
      event.states = in.text(in.left());
      if (!std::ranges::all_of(event.states, [](char c) { return c >= '0' && c <= '2'; })) {
        return Problem("an unknown state");
      }
      break;
    case Kind::ready:
    case Kind::gone: {
      enum class Flag : std::uint8_t { no, yes } settled{};
      if (!read_digit(in, Flag::yes, settled)) return Problem("an unknown flag");
      event.is_settled = settled == Flag::yes;
      event.incarnation = in.text(2 * Incarnation::kBytes);
      if (event.incarnation == std::string_view("--------------------------------")) {
        event.incarnation = {};
      }
      event.name = in.text(in.left());
      break;
    }
    default:
      return Problem("an unknown kind of event");
  }
  if (in.is_short()) return Problem("the event is too short");
  return event;
}

}  // namespace waystation
