// IP addresses, blocks of them, and lists of blocks.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace waystation {

/// An IPv4 or IPv6 address. An IPv4 address mapped into IPv6 (::ffff:192.0.2.7) is that IPv4
/// address; a zone ("%eth0") is checked and then forgotten, so that it plays no part in comparing.
class Address {
 public:
  /// Reads an address as inet_pton(3) does: no port, no brackets, no leading zeros.
  static std::optional<Address> parse(std::string_view text) noexcept;

  /// From what bytes() says.
  static Address from_bytes(const std::array<std::uint8_t, 16>& bytes) noexcept;

  bool is_v4() const noexcept { return is_v4_; }

  /// 127.0.0.0/8 or ::1.
  bool is_loopback() const noexcept;

  std::string to_string() const;

  /// The address with bit number `bit` of bytes() set, 0 being the first.
  Address with_bit(unsigned bit) const noexcept;

  /// The address with all but the first `bits` of bytes() cleared.
  Address masked(unsigned bits) const noexcept;

  /// 16 bytes in network order, an IPv4 address in its mapped form.
  const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }

  friend auto operator<=>(const Address&, const Address&) = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
  bool is_v4_ = false;
};

/// A CIDR block (RFC 4632, RFC 4291 section 2.3).
class AddressBlock {
 public:
  /// Reads `address` or `address/bits`. The error is a phrase, such as "10.0.0.1/8 has bits beyond
  /// its prefix; the block is 10.0.0.0/8".
  static std::variant<AddressBlock, std::string> parse(std::string_view text);

  bool contains(const Address& address) const noexcept;
  bool contains(const AddressBlock& block) const noexcept {
    return block.bits_ >= bits_ && contains(block.base_);
  }

  /// How long the prefix is, counted as in the text: 8 for 10.0.0.0/8.
  unsigned prefix() const noexcept { return bits_ - (base_.is_v4() ? 96U : 0U); }

  /// As in the text.
  std::string to_string() const { return base_.to_string() + "/" + std::to_string(prefix()); }

 private:
  friend class AddressList;
  Address base_;
  unsigned bits_ = 128;  // of the 128 in bytes()
};

/// Several blocks.
class AddressList {
 public:
  AddressList() = default;

  /// One block an entry; the error names the entry that is wrong.
  static std::variant<AddressList, std::string> parse(std::span<const std::string> entries);

  bool contains(const Address& address) const noexcept;

  /// Whether one block, or several together, hold every IPv4 or every IPv6 address.
  bool contains_all_addresses() const noexcept;

  bool empty() const noexcept { return blocks_.empty(); }
  const std::vector<AddressBlock>& blocks() const noexcept { return blocks_; }

 private:
  bool covers(const AddressBlock& whole) const noexcept;

  std::vector<AddressBlock> blocks_;
};

}  // namespace waystation
