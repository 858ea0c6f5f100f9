// TLS for unit tests: a certificate, a client, and a server that treats its sessions as CivetWeb
// does.
#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/sockets.hpp"
#include "support/websocket_client.hpp"

namespace waystation::test {

template <auto free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const noexcept {
    free(object);
  }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using TlsHandle = std::unique_ptr<SSL, FreeWith<SSL_free>>;

inline void require_tls(bool is_done, const char* what) {
  if (is_done) return;
  char text[256] = "";
  ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
  ERR_clear_error();
  throw std::runtime_error(std::string(what) + ": " + text);
}

/// A context with a certificate of its own. `version`: the only one, such as TLS1_3_VERSION.
inline TlsContext server_context(int version) {
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  require_tls(context != nullptr, "SSL_CTX_new");
  const std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>> key(EVP_EC_gen("P-256"));
  const std::unique_ptr<X509, FreeWith<X509_free>> certificate(X509_new());
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  require_tls(X509_sign(certificate.get(), key.get(), EVP_sha256()) != 0, "X509_sign");
  require_tls(SSL_CTX_use_certificate(context.get(), certificate.get()) == 1, "certificate");
  require_tls(SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1, "key");
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  return context;
}

/// A WebSocket client under TLS. It does not verify the certificate.
class TlsClient final : public WebSocketClient {
 public:
  /// `resumed`: a session to resume, or null.
  explicit TlsClient(FileDescriptor fd, SSL_SESSION* resumed = nullptr)
      : WebSocketClient(std::move(fd)) {
    const TlsContext context(SSL_CTX_new(TLS_client_method()));
    ssl_.reset(SSL_new(context.get()));
    SSL_set_fd(ssl_.get(), get());
    if (resumed != nullptr) SSL_set_session(ssl_.get(), resumed);
    require_tls(SSL_connect(ssl_.get()) == 1, "SSL_connect");
  }

  SSL* ssl() const noexcept { return ssl_.get(); }

  /// In one call: in as few records as possible.
  bool send(std::string_view bytes) override {
    ERR_clear_error();
    return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
           static_cast<int>(bytes.size());
  }

  /// Whether the server ended its direction by the rules of TLS.
  bool got_close_notify() const noexcept { return got_close_notify_; }
  void send_close_notify() { SSL_shutdown(ssl_.get()); }
  /// Sends a key update and asks for one.
  bool update_keys() {
    return SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) == 1 &&
           SSL_do_handshake(ssl_.get()) == 1;
  }

 protected:
  Received receive() override {
    Received received;
    if (SSL_pending(ssl_.get()) == 0) {
      pollfd ready{get(), POLLIN, 0};
      if (poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) != 1) {
        throw std::runtime_error("nothing came");
      }
    }
    received.bytes.resize(65536);
    ERR_clear_error();
    const int count = SSL_read(ssl_.get(), received.bytes.data(), 65536);
    received.bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    if (count <= 0) {
      got_close_notify_ = SSL_get_error(ssl_.get(), count) == SSL_ERROR_ZERO_RETURN;
      received.end = got_close_notify_ ? Received::End::eof : Received::End::reset;
    }
    return received;
  }

 private:
  TlsHandle ssl_;
  bool got_close_notify_ = false;
};

/// A request that a TlsServer has read.
struct TlsRequest {
  SSL* ssl;
  int descriptor;
  const void* connection;  // the same for all requests of one worker
  std::string target;
};

/// Serves one request per connection. Its workers use a session as CivetWeb's do: made, used and
/// freed on the worker's thread, with the connection as application data.
class TlsServer {
 public:
  /// Returns what to send; empty: nothing. On the worker's thread.
  using Handler = std::function<std::string(const TlsRequest&)>;

  TlsServer(int version, Handler handler, int workers = 2, int buffer_bytes = 0)
      : handler_(std::move(handler)),
        listener_("127.0.0.1", false, buffer_bytes),
        context_(server_context(version)) {
    for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
  }
  ~TlsServer() { stop(); }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  std::uint16_t port() const { return listener_.port(); }
  /// Before the first connection: runs after the handler, when the session is still the server's.
  void set_end_request(std::function<void(const TlsRequest&)> step) {
    end_request_ = std::move(step);
  }
  /// Before the first connection.
  SSL_CTX* context() const noexcept { return context_.get(); }
  /// Before the first connection: the server reads at most so many bytes of a request at once, so
  /// that OpenSSL keeps what follows it in its record. CivetWeb reads all that there is.
  void set_read_bytes(std::size_t bytes) noexcept { read_bytes_ = bytes; }
  /// Connections that were closed.
  int closed() const noexcept { return closed_; }

  /// Ends all workers, as mg_stop does.
  void stop() {
    shutdown(listener_.get(), SHUT_RDWR);
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    context_.reset();
  }

  TlsClient connect(int buffer_bytes = 0, SSL_SESSION* resumed = nullptr) const {
    return TlsClient(connect_to({"127.0.0.1", port()}, nullptr, buffer_bytes), resumed);
  }

  /// Sends an upgrade request and leaves the response unread.
  TlsClient knock(const std::string& target, int buffer_bytes = 0,
                  SSL_SESSION* resumed = nullptr) const {
    auto client = connect(buffer_bytes, resumed);
    client.send("GET " + target + " HTTP/1.1\r\n\r\n");
    return client;
  }

  TlsClient open(const std::string& target, int buffer_bytes = 0,
                 SSL_SESSION* resumed = nullptr) const {
    auto client = knock(target, buffer_bytes, resumed);
    const auto head = client.read_head();
    if (!head.starts_with("HTTP/1.1 101 ")) throw std::runtime_error(head);
    return client;
  }

 private:
  void work() {
    const int connection = 0;  // its address is all that counts
    for (;;) {
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      TlsHandle ssl(SSL_new(context_.get()));
      SSL_set_app_data(ssl.get(), const_cast<int*>(&connection));
      SSL_set_fd(ssl.get(), fd);
      if (SSL_accept(ssl.get()) == 1) serve({ssl.get(), fd, &connection, {}});
      ERR_clear_error();
      // CivetWeb's close_connection().
      SSL_shutdown(ssl.get());
      ssl.reset();
#ifdef __SANITIZE_THREAD__
      // ThreadSanitizer does not know that the end-of-file of a shutdown() orders two threads, but
      // that bytes do.
      (void)::send(fd, "", 0, MSG_NOSIGNAL);
#endif
      shutdown(fd, SHUT_WR);
      close(fd);
      ++closed_;
    }
  }

  void serve(TlsRequest request) {
    std::string head;
    std::string buffer(read_bytes_, '\0');
    while (head.find("\r\n\r\n") == std::string::npos) {
      const int count = SSL_read(request.ssl, buffer.data(), static_cast<int>(buffer.size()));
      if (count <= 0) return;
      head.append(buffer, 0, static_cast<std::size_t>(count));
    }
    const auto begin = head.find(' ') + 1;
    request.target = head.substr(begin, head.find(' ', begin) - begin);
    const auto answer = handler_(request);
    if (!answer.empty()) {
      SSL_write(request.ssl, answer.data(), static_cast<int>(answer.size()));
    }
    if (end_request_) end_request_(request);
  }

  Handler handler_;
  std::function<void(const TlsRequest&)> end_request_;
  std::size_t read_bytes_ = 16384;
  std::atomic<int> closed_ = 0;
  Listener listener_;
  TlsContext context_;
  std::vector<std::thread> workers_;
};

}  // namespace waystation::test
