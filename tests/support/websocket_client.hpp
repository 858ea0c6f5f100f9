// A WebSocket client that can also send malformed frames. For unit tests only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "support/sockets.hpp"
#include "websocket/close_code.hpp"
#include "websocket/opcode.hpp"

namespace waystation::test {

/// How to send a frame.
struct FrameShape {
  bool fin = true;
  bool masked = true;
  std::uint8_t reserved = 0;                 // RSV1 is 4, RSV2 is 2, RSV3 is 1
  std::optional<std::uint64_t> claims = {};  // a length other than the payload's
};

inline std::string frame(Opcode opcode, std::string_view payload, const FrameShape& shape = {}) {
  std::string bytes;
  const auto put = [&bytes](unsigned byte) { bytes += static_cast<char>(byte & 0xFF); };
  put((shape.fin ? 0x80U : 0U) | unsigned{shape.reserved} << 4 | static_cast<unsigned>(opcode));
  const auto length = shape.claims.value_or(payload.size());
  const unsigned mask_bit = shape.masked ? 0x80 : 0;
  if (length < 126) {
    put(mask_bit | static_cast<unsigned>(length));
  } else if (length <= 0xFFFF) {
    put(mask_bit | 126);
    for (int shift = 8; shift >= 0; shift -= 8) put(static_cast<unsigned>(length >> shift));
  } else {
    put(mask_bit | 127);
    for (int shift = 56; shift >= 0; shift -= 8) put(static_cast<unsigned>(length >> shift));
  }
  constexpr std::string_view kMask = "\x12\x34\x56\x78";
  if (shape.masked) bytes += kMask;
  for (std::size_t i = 0; i < payload.size(); ++i) {
    put(static_cast<unsigned char>(payload[i]) ^
        (shape.masked ? static_cast<unsigned>(kMask[i % 4]) : 0U));
  }
  return bytes;
}

inline std::string close_frame(std::uint16_t code, std::string_view reason = "") {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
  payload += reason;
  return frame(Opcode::close, payload);
}

/// A received frame.
struct Frame {
  Opcode opcode = Opcode::text;
  bool fin = true;
  std::string payload;
  std::uint64_t end_offset = 0;  // of its last byte, since the start of the connection

  /// The code of a Close frame; 1005 if it has none.
  std::uint16_t close_code() const {
    if (payload.size() < 2) return 1005;
    return static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 |
                                      static_cast<unsigned char>(payload[1]));
  }
};

class WebSocketClient {
 public:
  explicit WebSocketClient(FileDescriptor fd) : fd_(std::move(fd)) {}
  virtual ~WebSocketClient() = default;
  WebSocketClient(WebSocketClient&&) = default;
  WebSocketClient& operator=(WebSocketClient&&) = default;

  int get() const noexcept { return fd_.get(); }
  /// Bytes read from the kernel.
  std::uint64_t taken() const noexcept { return offset_ + buffer_.size(); }

  virtual bool send(std::string_view bytes) { return send_all(fd_.get(), bytes); }
  bool say(std::string_view text) { return send(frame(Opcode::text, text)); }

  /// An HTTP head including its empty line; empty at the end of the connection.
  std::string read_head() {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return {};
    }
    return take(end + 4);
  }

  /// The next frame; empty at the end of the connection.
  std::optional<Frame> read() {
    if (!need(2)) return std::nullopt;
    const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(buffer_[i]); };
    std::uint64_t length = byte(1) & 0x7F;
    std::size_t header = 2;
    if (length >= 126) {
      const std::size_t extended = length == 126 ? 2 : 8;
      if (!need(2 + extended)) return std::nullopt;
      length = 0;
      for (std::size_t i = 0; i < extended; ++i) length = length << 8 | byte(2 + i);
      header += extended;
    }
    if ((byte(1) & 0x80) != 0) throw std::runtime_error("a server must not mask");
    if (!need(header + length)) return std::nullopt;
    Frame read;
    read.opcode = static_cast<Opcode>(byte(0) & 0x0F);
    read.fin = (byte(0) & 0x80) != 0;
    take(header);
    read.payload = take(length);
    read.end_offset = offset_;
    return read;
  }

  /// The next text; answers pings on the way. Other results are "(closed 4408)", "(eof)" and
  /// "(reset)".
  std::string hear() {
    for (;;) {
      const auto next = read();
      if (!next) return is_reset_ ? "(reset)" : "(eof)";
      if (next->opcode == Opcode::close) {
        return "(closed " + std::to_string(next->close_code()) + ")";
      }
      if (next->opcode == Opcode::ping) {
        send(frame(Opcode::pong, next->payload));
        continue;
      }
      if (next->opcode == Opcode::pong) continue;
      return next->payload;
    }
  }

  /// Returns true if the connection ends without another frame.
  bool is_at_end() { return buffer_.empty() && !fill(); }
  bool is_reset() const noexcept { return is_reset_; }

  void half_close() { shutdown(fd_.get(), SHUT_WR); }
  void reset() {
    reset_on_close(fd_.get());
    fd_.reset();
  }
  void vanish() { fd_.reset(); }

 protected:
  /// At least one byte, or the end.
  virtual Received receive() { return receive_some(fd_.get()); }

 private:
  bool fill() {
    auto received = receive();
    is_reset_ = received.end == Received::End::reset;
    buffer_ += received.bytes;
    return received.end == Received::End::none;
  }

  bool need(std::size_t count) {
    while (buffer_.size() < count) {
      if (!fill()) return false;
    }
    return true;
  }

  std::string take(std::size_t count) {
    auto bytes = buffer_.substr(0, count);
    buffer_.erase(0, count);
    offset_ += count;
    return bytes;
  }

  FileDescriptor fd_;
  std::string buffer_;
  std::uint64_t offset_ = 0;  // of what was taken out of the buffer
  bool is_reset_ = false;
};

}  // namespace waystation::test
