#include "embed/tls_context.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <charconv>
#include <stdexcept>
#include <utility>

namespace waystation::server {
namespace {

// For TLS 1.2. All of TLS 1.3's have the same properties. OpenSSL prefers AES where both sides have
// instructions for it.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

}  // namespace

TlsContext::TlsContext(std::shared_ptr<const Certificate> certificate)
    : context_{SSL_CTX_new(TLS_server_method())}, certificate_{std::move(certificate)} {
  if (context_ == nullptr || SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(context_, kCiphers) != 1) {
    SSL_CTX_free(context_);
    ERR_clear_error();
    throw std::runtime_error{
        "TLS: OpenSSL offers no TLS 1.2 with ECDHE and AES-GCM; check openssl.cnf"};
  }
  SSL_CTX_set_options(context_, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context_, 1);
  SSL_CTX_set_cert_cb(context_, on_client_hello, this);
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

void TlsContext::replace(std::shared_ptr<const Certificate> certificate) noexcept {
  const std::lock_guard lock{mutex_};
  certificate_.swap(certificate);
}

std::shared_ptr<const Certificate> TlsContext::certificate() noexcept {
  const std::lock_guard lock{mutex_};
  return certificate_;
}

std::string handshake_problem(std::string_view error) {
  constexpr std::string_view kBeforeCode = "error:";
  unsigned long code = 0;
  if (error.starts_with(kBeforeCode)) {
    error.remove_prefix(kBeforeCode.size());
    std::from_chars(error.data(), error.data() + error.size(), code, 16);
  }
  if (code == 0) return "the connection is broken";
  switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0) {
    case SSL_R_HTTP_REQUEST:
      return "the client speaks plain HTTP; it must use https:// or wss://";
    case SSL_R_WRONG_VERSION_NUMBER:
      return "the client does not speak TLS; it must use https:// or wss://";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
      return "the client offers no current version of TLS; allowed: 1.2 and 1.3";
    case SSL_R_NO_SHARED_CIPHER:
      return "the client offers no secure cipher; allowed: ECDHE with AES-GCM or "
             "ChaCha20-Poly1305";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return "the client closed the connection";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
      return "the client does not trust the certificate; tls_certificate must hold the "
             "intermediate certificates, and the client must know the authority";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return "the client says that the certificate has expired; check its clock";
    default: {
      const char* const reason = ERR_reason_error_string(code);
      return reason != nullptr ? reason : "unknown error";
    }
  }
}

/// Called by a worker of the web server, before OpenSSL chooses a cipher.
int TlsContext::on_client_hello(ssl_st* connection, void* self) {
  if (SSL_version(connection) < TLS1_3_VERSION) SSL_set_options(connection, SSL_OP_NO_TICKET);
  return static_cast<TlsContext*>(self)->certificate()->use_in(connection) ? 1 : 0;
}

}  // namespace waystation::server
