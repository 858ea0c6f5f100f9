#include "cluster/channels.hpp"

#include <algorithm>
#include <utility>

namespace waystation {
namespace {

constexpr unsigned kHighBit = 16;     // one of the bits from kFirstHighBit on is set
constexpr unsigned kSeveralBit = 17;  // any bit is set
constexpr unsigned kFirstHighBit = 4;

/// Removes `prefix` from the beginning of `text`; false where it is not there.
bool take_prefix(std::string_view& text, std::string_view prefix) noexcept {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_suffix(std::string_view& text, std::string_view suffix) noexcept {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

}  // namespace

ChannelNames::ChannelNames(std::string_view cluster)
    : prefix_("ws1:" + std::string(cluster) + ":") {}

void ChannelName::append(std::string_view text) noexcept {
  // Names of groups and users are never longer than the relay allows.
  size_ += text.copy(bytes_.data() + size_, bytes_.size() - size_);
}

ChannelName ChannelNames::chat(std::string_view group, Side side) const noexcept {
  ChannelName name;
  for (const auto part : {std::string_view(prefix_), std::string_view("c:"), group,
                          std::string_view(side == Side::lo ? ":lo" : ":hi")}) {
    name.append(part);
  }
  return name;
}

ChannelName ChannelNames::push(std::string_view user) const noexcept {
  ChannelName name;
  for (const auto part : {std::string_view(prefix_), std::string_view("p:"), user}) {
    name.append(part);
  }
  return name;
}

ChannelName ChannelNames::reachable(std::string_view user) const noexcept {
  ChannelName name;
  for (const auto part : {std::string_view(prefix_), std::string_view("r:"), user}) {
    name.append(part);
  }
  return name;
}

std::string ChannelNames::inbox(const Incarnation& incarnation) const {
  return prefix_ + "n:" + incarnation.hex();
}

std::string ChannelNames::all() const {
  return prefix_ + "all";
}

std::string ChannelNames::bit(std::string_view base, unsigned bit) {
  return std::string(base) + "#" + std::to_string(bit);
}

std::uint32_t ChannelNames::socket_bits(std::size_t sockets) noexcept {
  constexpr std::size_t kMost = (1U << kHighBit) - 1;
  auto bits = static_cast<std::uint32_t>(std::min(sockets == 0 ? 0 : sockets - 1, kMost));
  if (bits != 0) bits |= 1U << kSeveralBit;
  if ((bits & kMost) >> kFirstHighBit != 0) bits |= 1U << kHighBit;
  return bits;
}

std::string ChannelNames::nodes_key() const {
  return prefix_ + "nodes";
}

std::string ChannelNames::seen_key() const {
  return prefix_ + "seen";
}

std::string ChannelNames::run_key() const {
  return prefix_ + "run";
}

std::optional<ChannelNames::Channel> ChannelNames::parse(std::string_view channel) const noexcept {
  using Kind = Channel::Kind;
  if (!take_prefix(channel, prefix_)) return std::nullopt;
  if (channel == "all") return Channel{.kind = Kind::all, .name = {}};
  if (channel.size() < 2 || channel[1] != ':') return std::nullopt;
  const char kind = channel[0];
  channel.remove_prefix(2);
  if (kind == 'n') return Channel{.kind = Kind::inbox, .name = channel};
  if (kind == 'r') return Channel{.kind = Kind::reachable, .name = channel};
  // Neither '#' nor ':' is a character of a name.
  const auto bit = channel.find('#');
  const bool is_bit = bit != std::string_view::npos;
  if (is_bit) channel = channel.substr(0, bit);
  if (kind == 'p') return Channel{.kind = Kind::push, .name = channel, .is_bit = is_bit};
  if (kind != 'c') return std::nullopt;
  auto side = Side::lo;
  if (!take_suffix(channel, ":lo")) {
    if (!take_suffix(channel, ":hi")) return std::nullopt;
    side = Side::hi;
  }
  return Channel{.kind = Kind::chat, .name = channel, .side = side, .is_bit = is_bit};
}

}  // namespace waystation
