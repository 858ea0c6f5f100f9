// The bytes of one connection, in both directions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "reactor/adopted_socket.hpp"

namespace waystation {

/// What a Connection reads from and writes to: a socket, or a layer such as TLS above one. It never
/// waits. All calls come on the reactor's thread; none throws. Closes its descriptor when
/// destroyed.
class Stream {
 public:
  enum class Status : std::uint8_t {
    ok,
    want_read,   // to go on, the descriptor must be readable
    want_write,  // to go on, the descriptor must be writable
    ended,       // read only: the peer has ended its direction
    broken,      // the connection cannot be used any more
  };

  struct Result {
    std::size_t bytes = 0;  // read, or taken to be written; may be more than 0 with any want
    Status status = Status::ok;
    // read only: more bytes can be read although the descriptor may not be readable.
    bool has_pending = false;
    // read only: the stream holds bytes of its own to send. The caller then calls write().
    bool holds_bytes = false;
  };

  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// For epoll and for socket options.
  virtual int descriptor() const noexcept = 0;

  /// Reads at most `buffer.size()` bytes, which are more than 0. `ok` with 0 bytes: nothing could
  /// be read now, as for want_read.
  virtual Result read(std::span<char> buffer) noexcept = 0;

  /// Takes bytes from the front of `bytes`; at least one with `ok`, unless there are none. With a
  /// want, bytes were left over or are still held by the stream. The caller then calls again when
  /// the descriptor is ready, with the bytes that were not taken. If all were taken, `bytes` is
  /// empty.
  virtual Result write(std::span<const char> bytes) noexcept = 0;

  /// Ends the direction to the peer. Called when everything was written; after a want, called again
  /// when the descriptor is ready. A failure is reported by epoll or by read.
  virtual Result shutdown() noexcept = 0;

  /// At most so many of the bytes that write() took have not been acknowledged by the peer's
  /// kernel. May be more than there are, so that the acknowledged offset is a lower bound. 0 where
  /// the kernel does not say.
  virtual std::uint64_t unacknowledged_bytes() const noexcept = 0;

  /// The descriptor if read() and write() are PlainStream's read_from() and write_to() of it.
  /// Otherwise -1.
  virtual int plain_descriptor() const noexcept { return -1; }

  /// As in Result. Asked before the first read.
  virtual bool has_pending() const noexcept { return false; }

 protected:
  Stream() = default;
};

/// A connected stream socket without a layer above it.
class PlainStream : public Stream {
 public:
  PlainStream() = default;
  explicit PlainStream(AdoptedSocket socket) noexcept : socket_(std::move(socket)) {}

  /// Exchanges its socket for `other`; without one the stream must not be used.
  void swap(AdoptedSocket& other) noexcept { std::swap(socket_, other); }

  /// As read() and write(), for a caller that has no stream at hand.
  static Result read_from(int descriptor, std::span<char> buffer) noexcept;
  static Result write_to(int descriptor, std::span<const char> bytes) noexcept;

  int descriptor() const noexcept override { return socket_.get(); }
  int plain_descriptor() const noexcept override { return socket_.get(); }
  Result read(std::span<char> buffer) noexcept override { return read_from(socket_.get(), buffer); }
  Result write(std::span<const char> bytes) noexcept override {
    return write_to(socket_.get(), bytes);
  }
  Result shutdown() noexcept override;
  std::uint64_t unacknowledged_bytes() const noexcept override;

 private:
  AdoptedSocket socket_;
};

/// A unix socket, such as the end of a socket pair whose other end a web server reads. Its kernel
/// buffer holds bytes until the peer reads them, and says how much memory they take, which is never
/// less. So at most that many bytes count as unacknowledged.
class UnixStream final : public PlainStream {
 public:
  int plain_descriptor() const noexcept override { return -1; }
  Result read(std::span<char> buffer) noexcept override;
  Result write(std::span<const char> bytes) noexcept override;
  std::uint64_t unacknowledged_bytes() const noexcept override;

 private:
  void forget_read_bytes() const noexcept;

  mutable std::uint64_t unread_ = 0;  // written, and perhaps not read
  // The peer closed its end with bytes unread, which left the buffer.
  mutable bool is_lost_ = false;
};

/// A stream for `descriptor`, still without a socket. Throws std::bad_alloc.
std::unique_ptr<PlainStream> make_plain_stream(int descriptor);

}  // namespace waystation
