// A chat or push socket: a connection that is a member of the relay.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "reactor/connection.hpp"
#include "reactor/delivery_ledger.hpp"
#include "reactor/session.hpp"
#include "relay/router.hpp"

namespace waystation {

class RelayService;

/// The kind of a socket and its user.
struct SessionParameters {
  SocketKind kind = SocketKind::chat;
  Protocol protocol = Protocol::plain;
  std::string group;            // for chat: a valid group name
  std::string user;             // empty: anonymous, for plain chat sockets only
  std::int64_t expires_at = 0;  // ms since 1970; 0: never
};

/// Makes the session of `connection`, for the reactor. `service` must outlive it.
std::unique_ptr<Session> make_relay_session(RelayService& service, Connection& connection,
                                            SessionParameters parameters);

}  // namespace waystation
