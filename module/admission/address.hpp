// IP addresses, blocks of them, and lists of blocks.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace waystation {

/// An IPv4 or IPv6 address. A mapped IPv4 address (::ffff:192.0.2.7) equals the IPv4 address. The
/// syntax of a zone ("%eth0") is checked; the zone is not stored and does not affect comparisons.
class Address {
 public:
  /// Parses an address as inet_pton(3) does: no port, no brackets, no leading zeros.
  static std::optional<Address> parse(std::string_view text) noexcept;

  /// The inverse of bytes().
  static Address from_bytes(const std::array<std::uint8_t, 16>& bytes) noexcept;

  bool is_v4() const noexcept { return is_v4_; }

  /// 127.0.0.0/8 or ::1.
  bool is_loopback() const noexcept;

  std::string to_string() const;

  /// The address with bit `bit` of bytes() set. Bit 0 is the most significant one.
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
  /// Parses `address` or `address/bits`. The error is a phrase, such as "bits beyond the prefix;
  /// the block is 10.0.0.0/8".
  static Result<AddressBlock, std::string> parse(std::string_view text);

  bool contains(const Address& address) const noexcept;
  bool contains(const AddressBlock& block) const noexcept {
    return block.bits_ >= bits_ && contains(block.base_);
  }

  /// The length of the prefix as in the text: 8 for 10.0.0.0/8.
  unsigned prefix() const noexcept { return bits_ - (base_.is_v4() ? 96U : 0U); }

  /// In the form that parse() accepts.
  std::string to_string() const { return base_.to_string() + "/" + std::to_string(prefix()); }

 private:
  friend class AddressList;
  Address base_;
  unsigned bits_ = 128;  // of the 128 in bytes()
};

/// A list of blocks.
class AddressList {
 public:
  AddressList() = default;

  /// Parses one block per entry. The error names the wrong entry.
  static Result<AddressList, std::string> parse(std::span<const std::string> entries);

  bool contains(const Address& address) const noexcept;

  /// Whether the blocks together contain every IPv4 address or every IPv6 address.
  bool contains_all_addresses() const noexcept;

  bool empty() const noexcept { return blocks_.empty(); }
  const std::vector<AddressBlock>& blocks() const noexcept { return blocks_; }

 private:
  bool covers(const AddressBlock& whole) const noexcept;

  std::vector<AddressBlock> blocks_;
};

}  // namespace waystation
