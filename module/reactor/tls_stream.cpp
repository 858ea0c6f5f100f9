#include "reactor/tls_stream.hpp"

namespace waystation {
namespace {

Stream::Status status_of(TlsSession::Status status) noexcept {
  switch (status) {
    case TlsSession::Status::ok:
      return Stream::Status::ok;
    case TlsSession::Status::want_read:
      return Stream::Status::want_read;
    case TlsSession::Status::want_write:
      return Stream::Status::want_write;
    case TlsSession::Status::ended:
      return Stream::Status::ended;
    case TlsSession::Status::broken:
      break;
  }
  return Stream::Status::broken;
}

}  // namespace

Stream::Result TlsStream::read(std::span<char> buffer) noexcept {
  const auto result = session_->read(buffer);
  // The client waits for the answer to its close_notify (RFC 8446, section 6.1).
  if (result.status == TlsSession::Status::ended) session_->end();
  return {result.bytes, status_of(result.status), session_->has_pending(),
          session_->held_bytes() != 0};
}

Stream::Result TlsStream::write(std::span<const char> bytes) noexcept {
  const auto result = session_->write(bytes);
  if (result.status != TlsSession::Status::ok) return {0, status_of(result.status)};
  const bool is_done = result.bytes == bytes.size() && session_->held_bytes() == 0;
  return {result.bytes, is_done ? Status::ok : Status::want_write};
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
