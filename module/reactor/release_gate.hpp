// Waits until a web server has released a TLS session.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/file_descriptor.hpp"
#include "reactor/event_source.hpp"
#include "reactor/loop.hpp"
#include "reactor/timer_queue.hpp"
#include "reactor/tls_stream.hpp"

namespace waystation {

/// A TLS stream between its adoption and its connection. The web server still owns the other end of
/// `gate`: as long as it has not shut that down, it may use the session. The kernel orders the
/// server's last use before the end-of-file that is read here. All on the reactor's thread.
class ReleaseGate final : public EventSource, private Timer {
 public:
  /// Why the stream cannot be used; a static text for the log.
  using Problem = const char*;
  static constexpr Problem kNoMemory = "there is no memory for the connection";
  /// Called once, with the stream and no problem, or with a problem and no stream. If it throws, it
  /// is called again with kNoMemory, and must not throw then.
  using Done = std::function<void(std::unique_ptr<Stream>, Problem)>;

  /// Throws std::bad_alloc.
  ReleaseGate(Loop& loop, std::unique_ptr<TlsStream> stream, FileDescriptor gate, Done done);
  ~ReleaseGate();
  ReleaseGate(const ReleaseGate&) = delete;
  ReleaseGate& operator=(const ReleaseGate&) = delete;

  /// Begins to wait, for `patience_ms` at most.
  void start(std::int64_t patience_ms) noexcept;

  void on_events(std::uint32_t events) noexcept override;
  /// `done` was called. The object may be destroyed at the end of the round.
  bool is_done() const noexcept { return is_done_; }

 private:
  void on_timer() noexcept override;
  void finish(Problem problem) noexcept;

  Loop& loop_;
  std::unique_ptr<TlsStream> stream_;
  FileDescriptor gate_;
  Done done_;
  bool is_done_ = false;
};

}  // namespace waystation
