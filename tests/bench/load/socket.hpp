// One of many WebSocket clients: connects asynchronously and passes on whole texts.
#pragma once

#include <openssl/types.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace waystation::load {

class Socket;

/// The owner of sockets. A failure of one socket ends the run: see Socket::failure().
class SocketOwner {
 public:
  virtual void on_open(Socket& socket) = 0;
  virtual void on_text(Socket& socket, std::string_view text) = 0;

 protected:
  ~SocketOwner() = default;
};

struct Endpoint {
  std::uint16_t port = 0;              // of the server, on 127.0.0.1
  std::uint32_t source_addresses = 1;  // 127.0.0.2 and so on, in rotation
  SSL_CTX* tls = nullptr;              // the settings of the connections; nullptr: no TLS
};

struct TlsSettingsDeleter {
  void operator()(SSL_CTX* settings) const noexcept;
};
using TlsSettings = std::unique_ptr<SSL_CTX, TlsSettingsDeleter>;

/// Settings of clients that do not verify the server. Throws std::runtime_error.
TlsSettings tls_settings();

class Socket {
 public:
  enum class State : std::uint8_t { closed, connecting, securing, upgrading, open, failed };

  Socket() = default;
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// Starts to connect, also again after a failure. `request_fields` are additional header lines,
  /// each ended with CR LF. A socket that will not read gets a small receive buffer.
  /// With `is_request`, it sends a plain request without keep-alive. It counts as open after the
  /// server's answer, and closes.
  void connect(int epoll, const Endpoint& endpoint, std::string_view target,
               std::string_view request_fields, bool will_read, bool is_request = false);

  /// Handles an epoll event. `buffer` is scratch memory for received data.
  void on_event(std::uint32_t events, std::span<char> buffer, SocketOwner& owner);

  /// Queues frames; flush() sends them.
  std::string& out() noexcept { return out_; }
  void flush();

  /// Stops reading until read_again().
  void stop_reading();
  void read_again();
  void close();

  State state() const noexcept { return state_; }
  bool is_open() const noexcept { return state_ == State::open; }
  bool is_reading() const noexcept { return is_reading_; }
  const std::string& failure() const noexcept { return failure_; }
  /// The code of the server's Close; 0: none received.
  unsigned closed_with() const noexcept { return closed_with_; }

  std::uint32_t pair = 0;  // for the owner
  bool is_ready = false;   // for the owner: the server takes messages
  bool is_sender = false;
  std::uint64_t received = 0;  // texts
  std::uint64_t pings = 0;

 private:
  struct TlsDeleter {
    void operator()(SSL* tls) const noexcept;
  };

  void fail(std::string why);
  void on_connected();
  void secure();
  /// As send(2) and recv(2), over TLS if the connection has it. A negative result with EAGAIN:
  /// later.
  ssize_t write_some(std::string_view bytes);
  ssize_t read_some(std::span<char> buffer);
  ssize_t tls_result(int result);
  void read(std::span<char> buffer, SocketOwner& owner);
  std::size_t take_response(std::string_view bytes, SocketOwner& owner);
  std::size_t take_frame(std::string_view bytes, SocketOwner& owner);
  void watch(bool writable);

  int fd_ = -1;
  SSL_CTX* tls_settings_ = nullptr;
  std::unique_ptr<SSL, TlsDeleter> tls_;
  bool is_request_ = false;
  int epoll_ = -1;
  State state_ = State::closed;
  bool is_reading_ = true;
  bool is_watching_writable_ = false;
  std::string out_;
  std::string unread_;  // the start of an incomplete frame
  std::string failure_;
  unsigned closed_with_ = 0;
};

}  // namespace waystation::load
