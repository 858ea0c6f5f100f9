#include "admission/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "admission/request.hpp"
#include "base/error.hpp"

namespace waystation {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool is_zone(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

/// A prefix length without sign or leading zeros, at most `max`.
std::optional<unsigned> parse_bits(std::string_view text, unsigned max) noexcept {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text.front() == '0')) {
    return std::nullopt;
  }
  unsigned bits = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    bits = bits * 10 + static_cast<unsigned>(c - '0');
  }
  if (bits > max) return std::nullopt;
  return bits;
}

}  // namespace

std::optional<Address> Address::parse(std::string_view text) noexcept {
  const std::size_t percent = text.find('%');
  const bool has_zone = percent != std::string_view::npos;
  if (has_zone && !is_zone(text.substr(percent + 1))) return std::nullopt;
  text = text.substr(0, percent);

  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) {
    return std::nullopt;
  }
  std::ranges::copy(text, terminated.begin());

  Address address;
  if (!has_zone && inet_pton(AF_INET, terminated.data(), address.bytes_.data() + 12) == 1) {
    std::ranges::copy(kMappedPrefix, address.bytes_.begin());
    address.is_v4_ = true;
    return address;
  }
  if (inet_pton(AF_INET6, terminated.data(), address.bytes_.data()) != 1) return std::nullopt;
  address.is_v4_ = std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes_.begin());
  return address;
}

Address Address::from_bytes(const std::array<std::uint8_t, 16>& bytes) noexcept {
  Address address;
  address.bytes_ = bytes;
  address.is_v4_ = std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
  return address;
}

bool Address::is_loopback() const noexcept {
  if (is_v4_) return bytes_[12] == 127;
  return bytes_[15] == 1 &&
         std::all_of(bytes_.begin(), bytes_.end() - 1, [](auto byte) { return byte == 0; });
}

std::string Address::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(is_v4_ ? AF_INET : AF_INET6, bytes_.data() + (is_v4_ ? 12 : 0), text.data(),
            static_cast<socklen_t>(text.size()));
  return text.data();
}

Address Address::with_bit(unsigned bit) const noexcept {
  Address result = *this;
  result.bytes_[bit / 8] |= static_cast<std::uint8_t>(0x80U >> (bit % 8));
  return result;
}

Address Address::masked(unsigned bits) const noexcept {
  Address result = *this;
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned kept = std::clamp(bits, 8 * i, 8 * i + 8) - 8 * i;  // of this byte
    result.bytes_[i] &= static_cast<std::uint8_t>(0xFF00U >> kept);
  }
  return result;
}

Result<AddressBlock, std::string> AddressBlock::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto base = text.find('%') == std::string_view::npos ? Address::parse(text.substr(0, slash))
                                                             : std::nullopt;
  if (!base) return "neither an address nor a CIDR block";
  AddressBlock block;
  block.base_ = *base;
  if (slash == std::string_view::npos) return block;

  // The prefix of a mapped block counts all 128 bits: ::ffff:10.0.0.0/104.
  const bool is_dotted = text.substr(0, slash).find(':') == std::string_view::npos;
  const auto bits = parse_bits(text.substr(slash + 1), is_dotted ? 32 : 128);
  if (!bits) {
    return std::string("the prefix is not a number from 0 to ") + (is_dotted ? "32" : "128");
  }
  block.bits_ = *bits + (is_dotted ? 96 : 0);
  if (base->is_v4() && block.bits_ < 96) return "a block of mapped addresses starts at /96";
  const Address lowest = base->masked(block.bits_);
  if (lowest != *base) {
    return "bits beyond the prefix; the block is " + lowest.to_string() + "/" +
           std::to_string(block.bits_ - (lowest.is_v4() ? 96 : 0));
  }
  return block;
}

bool AddressBlock::contains(const Address& address) const noexcept {
  return address.masked(bits_) == base_;  // addresses of different families are never equal
}

Result<AddressList, std::string> AddressList::parse(std::span<const std::string> entries) {
  AddressList list;
  for (const std::string& entry : entries) {
    auto block = AddressBlock::parse(entry);
    if (!block) return in_quotes(entry) + ": " + block.error();
    list.blocks_.push_back(*block);
  }
  return list;
}

bool AddressList::contains_all_addresses() const noexcept {
  AddressBlock v6;
  v6.bits_ = 0;
  AddressBlock v4;
  v4.base_ = *Address::parse("0.0.0.0");
  v4.bits_ = 96;
  return covers(v4) || covers(v6);
}

/// Two blocks are either nested or disjoint. So several blocks cover `whole` together exactly if
/// they cover both of its halves.
bool AddressList::covers(const AddressBlock& whole) const noexcept {
  // A half waits for each longer prefix, of at most 128 bits. No recursion: see EMBEDDING.md, on
  // the stack of a host's threads.
  std::array<AddressBlock, 130> waiting;
  std::size_t count = 0;
  waiting[count++] = whole;
  while (count != 0) {
    const AddressBlock block = waiting[--count];
    const auto holds = [&](const AddressBlock& other) { return other.contains(block); };
    const auto reaches_in = [&](const AddressBlock& other) { return block.contains(other); };
    if (std::ranges::any_of(blocks_, holds)) continue;
    if (std::ranges::none_of(blocks_, reaches_in)) return false;
    AddressBlock half = block;
    ++half.bits_;  // at most 128: a single address is contained or disjoint
    waiting[count++] = half;
    half.base_ = half.base_.with_bit(block.bits_);
    waiting[count++] = half;
  }
  return true;
}

bool AddressList::contains(const Address& address) const noexcept {
  return std::ranges::any_of(blocks_,
                             [&](const AddressBlock& block) { return block.contains(address); });
}

}  // namespace waystation
