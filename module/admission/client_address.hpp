// Whose request it is, by address, where proxies may stand in between.
#pragma once

#include <optional>
#include <string>

#include "admission/address.hpp"
#include "admission/request.hpp"

namespace waystation {

/// The client address of a request.
struct ClientAddress {
  /// The client's. Nothing: the request is nobody's; it came through a proxy that nobody vouches
  /// for, or through a trusted one that did not say for whom. It is never an operator's and never
  /// good for open mode.
  std::optional<Address> address;

  /// The peer's own. Nothing where the web server gave no IP address.
  std::optional<Address> peer;

  /// Where nobody's: why, as a clause.
  std::string why_unidentified;

  /// The peer is one of the trusted proxies: its header fields may be believed.
  bool through_trusted_proxy = false;

  /// What limits per address count it under: the client's, or the peer's where it is nobody's.
  const std::optional<Address>& address_for_limits() const noexcept {
    return address ? address : peer;
  }
};

/// Finds out who the client is.
///
/// A request was forwarded if it has a field that proxies set: any X-Forwarded-…, Forwarded
/// (RFC 7239), Via (RFC 9110, section 7.6.3), X-Real-IP and others of their kind; or if it came in
/// HTTP/1.0, which is what nginx speaks where it is told nothing else, and then with no such field.
///
///   - The peer is not in `trusted`: the peer; nobody's if the request was forwarded.
///   - The peer is in `trusted`: the rightmost address of all X-Forwarded-For fields that is not
///     in `trusted`; the leftmost where all are. An entry that must be looked at and is no address
///     (with or without a port) makes it nobody's, and so does having been forwarded without
///     X-Forwarded-For. If it was not, it is the peer itself.
///
/// A proxy that speaks HTTP/1.1 and sets no field at all cannot be told from a client.
ClientAddress client_address(const Request& request, const AddressList& trusted);

}  // namespace waystation
