#include "embed/tls_context.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "unit/embed/test_certificates.hpp"

using namespace waystation::server;

namespace {

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using SslHandle = std::unique_ptr<SSL, FreeSsl>;
using ContextHandle = std::unique_ptr<SSL_CTX, FreeSsl>;
using SessionHandle = std::unique_ptr<SSL_SESSION, FreeSsl>;

/// A client and a server that are connected by memory.
struct Pair {
  SslHandle client;
  SslHandle server;

  Pair(SSL_CTX* client_context, SSL_CTX* server_context, SSL_SESSION* session = nullptr)
      : client{SSL_new(client_context)}, server{SSL_new(server_context)} {
    BIO* to_server = nullptr;
    BIO* to_client = nullptr;
    BIO_new_bio_pair(&to_server, 0, &to_client, 0);
    SSL_set_bio(client.get(), to_server, to_server);
    SSL_set_bio(server.get(), to_client, to_client);
    SSL_set_connect_state(client.get());
    SSL_set_accept_state(server.get());
    if (session != nullptr) SSL_set_session(client.get(), session);
  }

  /// Whether both sides completed the handshake. The client has read its ticket then.
  bool shake_hands() {
    int done = 0;
    for (int i = 0; i < 10 && done != 2; ++i) {
      done = (SSL_do_handshake(client.get()) == 1 ? 1 : 0) +
             (SSL_do_handshake(server.get()) == 1 ? 1 : 0);
    }
    char byte = 0;
    if (done == 2) SSL_read(client.get(), &byte, 1);
    ERR_clear_error();
    return done == 2;
  }
};

class TlsContextTest : public testing::Test {
 protected:
  std::shared_ptr<const Certificate> made(const std::string& name) const {
    const auto key = test::ec_key();
    const auto ca_key = test::ec_key();
    const auto ca = test::certificate("the issuer of " + name, ca_key, 30);
    const auto own = test::certificate(name, key, 20, ca, ca_key);
    auto read = Certificate::read(folder_.write("certificate.pem", test::pem(own) + test::pem(ca)),
                                  folder_.write("key.pem", test::pem(key)), test::now());
    return std::get<std::shared_ptr<const Certificate>>(std::move(read));
  }

  /// A client of one protocol version.
  static ContextHandle client(int version) {
    ContextHandle context{SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_min_proto_version(context.get(), version);
    SSL_CTX_set_max_proto_version(context.get(), version);
    return context;
  }

  /// The names of the certificates that a new client gets, in order.
  static std::string names_sent_by(const TlsContext& server) {
    const auto context = client(TLS1_3_VERSION);
    Pair pair{context.get(), server.get()};
    if (!pair.shake_hands()) return "no handshake";
    std::string names;
    const auto* const chain = SSL_get_peer_cert_chain(pair.client.get());
    for (int i = 0; i < sk_X509_num(chain); ++i) {
      std::array<char, 64> name{};
      X509_NAME_get_text_by_NID(X509_get_subject_name(sk_X509_value(chain, i)), NID_commonName,
                                name.data(), name.size());
      names += (i == 0 ? "" : ", ") + std::string{name.data()};
    }
    return names;
  }

  test::Folder folder_;
  TlsContext server_{made("a")};
};

}  // namespace

TEST_F(TlsContextTest, SendsTheCertificateAndItsIntermediates) {
  EXPECT_EQ(names_sent_by(server_), "a, the issuer of a");
}

TEST_F(TlsContextTest, UsesANewCertificateForLaterHandshakes) {
  const auto context = client(TLS1_3_VERSION);
  Pair before{context.get(), server_.get()};
  ASSERT_TRUE(before.shake_hands());
  server_.replace(made("b"));
  EXPECT_EQ(names_sent_by(server_), "b, the issuer of b");
  // The earlier connection goes on.
  ASSERT_EQ(SSL_write(before.client.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(SSL_read(before.server.get(), &byte, 1), 1);
}

TEST_F(TlsContextTest, ReplacesTheCertificateUnderHandshakes) {
  const auto other = made("b");
  const auto first = made("a");
  std::atomic<bool> is_over = false;
  std::atomic<int> failures = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      const auto context = client(TLS1_3_VERSION);
      while (!is_over) {
        if (!Pair{context.get(), server_.get()}.shake_hands()) ++failures;
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE((Pair{client(TLS1_3_VERSION).get(), server_.get()}.shake_hands()));
    server_.replace(i % 2 == 0 ? other : first);
  }
  is_over = true;
  for (auto& thread : clients) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(TlsContextTest, SpeaksTls12And13Only) {
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto context = client(version);
    SSL_CTX_set_security_level(context.get(), 0);
    Pair pair{context.get(), server_.get()};
    SSL_set_security_level(pair.server.get(), 0);
    EXPECT_EQ(pair.shake_hands(), version >= TLS1_2_VERSION) << std::hex << version;
  }
}

TEST_F(TlsContextTest, OffersForwardSecrecyWithAuthenticatedEncryptionOnly) {
  const auto is_taken = [&](const char* cipher) {
    const auto context = client(TLS1_2_VERSION);
    EXPECT_EQ(SSL_CTX_set_cipher_list(context.get(), cipher), 1) << cipher;
    return Pair{context.get(), server_.get()}.shake_hands();
  };
  EXPECT_TRUE(is_taken("ECDHE-ECDSA-AES128-GCM-SHA256"));
  EXPECT_TRUE(is_taken("ECDHE-ECDSA-AES256-GCM-SHA384"));
  EXPECT_TRUE(is_taken("ECDHE-ECDSA-CHACHA20-POLY1305"));
  EXPECT_FALSE(is_taken("ECDHE-ECDSA-AES128-SHA256"));
  EXPECT_FALSE(is_taken("ECDHE-ECDSA-AES128-CCM8"));
}

TEST_F(TlsContextTest, ResumesSessionsOfTls13Only) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto context = client(version);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT);
    Pair first{context.get(), server_.get()};
    ASSERT_TRUE(first.shake_hands());
    // OpenSSL resumes no session of a connection that broke off.
    SSL_shutdown(first.client.get());
    const SessionHandle session{SSL_get1_session(first.client.get())};
    Pair second{context.get(), server_.get(), session.get()};
    ASSERT_TRUE(second.shake_hands());
    EXPECT_EQ(SSL_session_reused(second.client.get()) == 1, version == TLS1_3_VERSION);
  }
}

TEST_F(TlsContextTest, DoesNotRenegotiate) {
  const auto context = client(TLS1_2_VERSION);
  Pair pair{context.get(), server_.get()};
  // As if openssl.cnf allowed it.
  SSL_set_options(pair.server.get(), SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
  ASSERT_TRUE(pair.shake_hands());
  ASSERT_EQ(SSL_renegotiate(pair.client.get()), 1);
  SSL_do_handshake(pair.client.get());
  char byte = 0;
  EXPECT_LE(SSL_read(pair.server.get(), &byte, 1), 0);
  EXPECT_LE(SSL_do_handshake(pair.client.get()), 0);
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
  ERR_clear_error();
}
