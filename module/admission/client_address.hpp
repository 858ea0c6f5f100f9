// The client address of a request that may have passed proxies.
#pragma once

#include <optional>
#include <string>

#include "admission/address.hpp"
#include "admission/request.hpp"

namespace waystation {

/// The client address of a request.
struct ClientAddress {
  /// The client's address. Nothing: the client is unidentified, because the request passed a proxy
  /// that is not trusted, or a trusted proxy that did not name the client. Such a request has no
  /// operator rights, and open mode refuses it.
  std::optional<Address> address;

  /// The address of the TCP peer. Nothing if the web server gave no IP address.
  std::optional<Address> peer;

  /// If there is no `address`: the reason, as a clause.
  std::string why_unidentified;

  /// The peer is a trusted proxy, so that its header fields can be trusted.
  bool through_trusted_proxy = false;

  /// The address that limits per address count: the client's, or the peer's if there is none.
  const std::optional<Address>& address_for_limits() const noexcept {
    return address ? address : peer;
  }
};

/// Determines the client address. Through the door it is the address that the asker gave, and no
/// field is read. Otherwise:
///
/// A request counts as forwarded if it has a field that proxies set, such as X-Forwarded-…,
/// Forwarded (RFC 7239), Via (RFC 9110, section 7.6.3) or X-Real-IP. HTTP/1.0 counts as forwarded
/// too: nginx speaks it to its upstreams by default, without any such field.
///
///   - Not forwarded: the peer.
///   - Forwarded by a peer that is not in `trusted`: unidentified.
///   - Forwarded by a peer in `trusted`: the rightmost address in all X-Forwarded-For fields that
///   is
///     not in `trusted`, or the leftmost one if all are. Unidentified if there is no
///     X-Forwarded-For, or if this search meets an entry that is not an address (with or without a
///     port).
///
/// A proxy that speaks HTTP/1.1 and sets no field cannot be distinguished from a client.
ClientAddress client_address(const Request& request, const AddressList& trusted);

}  // namespace waystation
