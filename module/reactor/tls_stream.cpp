#include "reactor/tls_stream.hpp"

namespace waystation {
Stream::Result TlsStream::read(std::span<char> buffer) noexcept {
  auto result = session_->read(buffer);
  // The client waits for the answer to its close_notify (RFC 8446, section 6.1).
  if (result.status == Status::ended) session_->end();
  result.has_pending = session_->has_pending();
  result.holds_bytes = session_->held_bytes() != 0;
  return result;
}

Stream::Result TlsStream::write(std::span<const char> bytes) noexcept {
  auto result = session_->write(bytes);
  const bool is_done = result.bytes == bytes.size() && session_->held_bytes() == 0;
  if (result.status == Status::ok && !is_done) result.status = Status::want_write;
  return result;
}

Stream::Result TlsStream::shutdown() noexcept {
  session_->end();
  const auto flushed = write({});
  return flushed.status == Status::want_write ? flushed : plain_.shutdown();
}

std::uint64_t TlsStream::unacknowledged_bytes() const noexcept {
  // Both are counted encrypted, which is never less than the same bytes before.
  return plain_.unacknowledged_bytes() + session_->held_bytes();
}

}  // namespace waystation
