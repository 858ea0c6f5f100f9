// A connection under TLS.
#pragma once

#include <memory>
#include <utility>

#include "reactor/adopted_socket.hpp"
#include "reactor/stream.hpp"
#include "reactor/tls_session.hpp"

namespace waystation {

/// A connected socket and the TLS session above it.
class TlsStream final : public Stream {
 public:
  /// Not to be used before hold() and swap().
  TlsStream() = default;

  /// Keeps `session`. False where it is null.
  bool hold(std::unique_ptr<TlsSession> session) noexcept {
    session_ = std::move(session);
    return session_ != nullptr;
  }
  /// Exchanges its socket for `other`.
  void swap(AdoptedSocket& other) noexcept { plain_.swap(other); }
  TlsSession& session() noexcept { return *session_; }

  /// The first call, when the web server has released the session. False where it cannot be used.
  bool begin() noexcept { return session_->begin(plain_.descriptor()); }

  int descriptor() const noexcept override { return plain_.descriptor(); }
  Result read(std::span<char> buffer) noexcept override;
  Result write(std::span<const char> bytes) noexcept override;
  Result shutdown() noexcept override;
  std::uint64_t unacknowledged_bytes() const noexcept override;
  bool has_pending() const noexcept override { return session_->has_pending(); }

 private:
  PlainStream plain_;  // outlives the session, which uses its descriptor
  std::unique_ptr<TlsSession> session_;
};

}  // namespace waystation
