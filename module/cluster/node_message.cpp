#include "cluster/node_message.hpp"

#include <algorithm>
#include <limits>
#include <new>

#include "base/byte_reader.hpp"
#include "base/byte_writer.hpp"
#include "cluster/events.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

constexpr auto kFrame = static_cast<std::uint8_t>(ClusterEvent::Kind::frame);
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kMaxGroupBytes = 2 * kMaxUserBytes + 1;

bool is_user_or_empty(std::string_view text) noexcept {
  return text.empty() || is_user_id(text);
}

}  // namespace

std::size_t write_node_message(std::string& out, NodeHeader header, std::string_view body,
                               Sealer& sealer) {
  const auto begin = out.size();
  if (body.size() > std::numeric_limits<std::uint32_t>::max()) throw std::bad_alloc();
  header.key_id = sealer.key_id();
  header.origin = sealer.incarnation();
  header.sequence = sealer.next_sequence();
  try {
    ByteWriter writer(out);
    writer.u8(kFrame);
    writer.u8(kVersion);
    writer.u8(static_cast<std::uint8_t>(header.kind));
    writer.u8(static_cast<std::uint8_t>(header.to_side));
    writer.u8(static_cast<std::uint8_t>(header.from_protocol));
    writer.u32(header.key_id);
    writer.text(header.origin.view());
    writer.u64(header.sequence);
    writer.u64(static_cast<std::uint64_t>(header.at));
    writer.u32(header.socket);
    for (const auto text : {header.group, header.from, header.to, header.id}) {
      writer.u8(static_cast<std::uint8_t>(text.size()));
    }
    writer.u32(static_cast<std::uint32_t>(body.size()));
    for (const auto text : {header.group, header.from, header.to, header.id}) writer.text(text);
    const auto header_bytes = out.size() - begin;
    sealer.seal(out, begin, body);
    return header_bytes;
  } catch (...) {
    out.resize(begin);
    throw;
  }
}

Result<NodeMessage, std::string_view> read_node_message(std::string_view frame) noexcept {
  using Problem = std::string_view;
  ByteReader in(frame);
  NodeMessage message;
  auto& header = message.header;
  if (in.u8() != kFrame) return Problem("it is no frame");
  if (in.u8() != kVersion) return Problem("its version is unknown; known is 1");
  const auto kind = in.u8();
  const auto side = in.u8();
  const auto protocol = in.u8();
  header.key_id = in.u32();
  const auto origin = in.text(Incarnation::kBytes);
  header.sequence = in.u64();
  header.at = static_cast<std::int64_t>(in.u64());
  header.socket = in.u32();
  const std::size_t group = in.u8();
  const std::size_t from = in.u8();
  const std::size_t to = in.u8();
  const std::size_t id = in.u8();
  message.body_bytes = in.u32();
  header.group = in.text(group);
  header.from = in.text(from);
  header.to = in.text(to);
  header.id = in.text(id);
  if (in.is_short()) return Problem("it is shorter than its lengths say");
  message.header_bytes = frame.substr(0, frame.size() - in.left());
  message.sealed = frame.substr(message.header_bytes.size());
  if (!message.sealed.empty() &&
      message.sealed.size() != std::size_t{message.body_bytes} + Sealer::kTagBytes) {
    return Problem("its body has another size than it says");
  }
  if (kind == 0 || kind > kMaxNodeMessageKind) return Problem("its kind is unknown");
  if (side > static_cast<std::uint8_t>(Side::hi)) return Problem("its side is not lo or hi");
  if (protocol > static_cast<std::uint8_t>(Protocol::v1)) return Problem("its protocol is unknown");
  if (header.group.size() > kMaxGroupBytes || (group != 0 && !parse_group(header.group))) {
    return Problem("its group is not one");
  }
  if (!is_user_or_empty(header.from) || !is_user_or_empty(header.to)) {
    return Problem("a user of it is not one");
  }
  if (id != 0 && !is_message_id(header.id)) return Problem("its id is not one");
  header.kind = static_cast<NodeMessageKind>(kind);
  header.to_side = static_cast<Side>(side);
  header.from_protocol = static_cast<Protocol>(protocol);
  std::ranges::copy(origin, header.origin.bytes.begin());
  return message;
}

bool open_node_message(const NodeMessage& message, Opener& opener, Opener::Copy copy,
                       std::string& body) {
  const auto& header = message.header;
  return opener.open(header.key_id, header.origin, header.sequence, copy, message.header_bytes,
                     message.sealed, body);
}

}  // namespace waystation
