#include "embed/tls_context.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

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

/// Called by a worker of the web server, before OpenSSL chooses a cipher.
int TlsContext::on_client_hello(ssl_st* connection, void* self) {
  if (SSL_version(connection) < TLS1_3_VERSION) SSL_set_options(connection, SSL_OP_NO_TICKET);
  return static_cast<TlsContext*>(self)->certificate()->use_in(connection) ? 1 : 0;
}

}  // namespace waystation::server
