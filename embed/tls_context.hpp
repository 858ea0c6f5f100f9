// The TLS settings of the https listeners.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "embed/certificate.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace waystation::server {

/// An SSL_CTX for TLS 1.2 and 1.3 with forward secrecy and authenticated encryption. Each handshake
/// uses the certificate that is the current one when the client's first message arrives.
///
/// TLS 1.3 sessions can be resumed by a ticket, with a new key exchange. TLS 1.2 sessions cannot:
/// the key of the tickets would reveal them.
class TlsContext {
 public:
  /// Throws std::runtime_error if OpenSSL does not offer what is needed.
  explicit TlsContext(std::shared_ptr<const Certificate> certificate);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// Must not be used for handshakes when this object is gone. Open connections may remain.
  ssl_ctx_st* get() const noexcept { return context_; }

  /// For handshakes from now on. Any thread.
  void replace(std::shared_ptr<const Certificate> certificate) noexcept;

 private:
  static int on_client_hello(ssl_st* connection, void* self);
  std::shared_ptr<const Certificate> certificate() noexcept;

  ssl_ctx_st* context_;
  std::mutex mutex_;
  std::shared_ptr<const Certificate> certificate_;
};

/// Why a handshake failed: "<reason>; <what to do>". `error` is OpenSSL's text, such as
/// "error:0A00009C:SSL routines::http request". Empty: the connection broke.
std::string handshake_problem(std::string_view error);

}  // namespace waystation::server
