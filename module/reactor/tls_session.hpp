// The TLS session of a web server that the library takes over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace waystation {

/// A held session: see "TLS sessions of a web server" in waystation.h, whose functions these are.
/// Destroying it releases the session, on any thread and at any time.
class TlsSession {
 public:
  enum class Status : std::uint8_t { ok, want_read, want_write, ended, broken };

  struct Result {
    std::size_t bytes = 0;  // more than 0 only with `ok`
    Status status = Status::ok;
  };

  virtual ~TlsSession() = default;
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  /// The server's thread: it goes on with the session. The object is of no more use.
  virtual void give_back() noexcept = 0;

  // ---- the reactor's thread, begin() first

  /// False where the session cannot be used.
  virtual bool begin(int descriptor) noexcept = 0;
  virtual Result read(std::span<char> buffer) noexcept = 0;
  /// Takes bytes and holds those that the kernel does not take; takes none while it holds earlier
  /// ones, and may take a part of many. Without `bytes` it only sends what it holds.
  virtual Result write(std::span<const char> bytes) noexcept = 0;
  virtual bool has_pending() const noexcept = 0;
  virtual std::size_t held_bytes() const noexcept = 0;
  virtual void end() noexcept = 0;

 protected:
  TlsSession() = default;
};

}  // namespace waystation
