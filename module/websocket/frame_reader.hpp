// Reads what a client sends: frames in, whole messages out (RFC 6455, sections 5 to 8).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "websocket/close_code.hpp"
#include "websocket/opcode.hpp"
#include "websocket/utf8.hpp"

namespace waystation {

/// What a FrameReader hands on. The views live until the call returns. True continues with the next
/// frame; after false the reader leaves the bytes behind this one unread.
class FrameHandler {
 public:
  /// A whole message, unmasked and reassembled; `opcode` is text (checked UTF-8) or binary.
  virtual bool on_message(Opcode opcode, std::string_view payload) = 0;
  virtual bool on_ping(std::string_view payload) = 0;
  virtual bool on_pong(std::string_view payload) = 0;
  /// The peer's Close; `code` is no_status where it gave none. Nothing is read after it.
  virtual void on_close(CloseCode code, std::string_view reason) = 0;

 protected:
  ~FrameHandler() = default;
};

/// What every reader of one server keeps to.
struct FrameLimits {
  std::size_t max_message_bytes = 65536;  // all fragments together
  bool accept_binary = false;             // otherwise a binary message is 1003
};

/// The incremental reader of one connection. Takes input cut anywhere. Holds no memory beyond its
/// own size unless a message or control frame is unfinished, and allocates only for bytes that
/// arrived, never for a length that was claimed.
class FrameReader {
 public:
  /// `limits` must outlive the reader.
  explicit FrameReader(const FrameLimits& limits) noexcept : limits_(&limits) {}

  /// Reads at most `max_frames` frames (at least 1) off the front of `bytes`, unmasking them in
  /// place, and calls `handler` for what is complete. `bytes` is then what was not read: the frames
  /// beyond that number, or behind one for which the handler returned false. Feed them next.
  ///
  /// Returns the code to close with where the peer broke the protocol: protocol_error,
  /// unsupported_data, invalid_payload or message_too_big. Nothing may be fed after that, nor
  /// after on_close was called.
  std::optional<CloseCode> feed(std::span<char>& bytes, FrameHandler& handler,
                                std::size_t max_frames);

  /// Whether a frame or a fragmented message has begun and is not complete.
  bool is_unfinished() const noexcept { return header_size_ != 0 || in_frame_ || in_message_; }

  /// Bytes of payload that the current frame lacks; 0 between frames.
  std::uint64_t frame_rest() const noexcept { return remaining_; }

 private:
  enum class Step : std::uint8_t { go_on, stop, need_more };

  Step read_header(std::span<char>& bytes);
  Step read_payload(std::span<char>& bytes, FrameHandler& handler);
  Step finish_control(std::string_view payload, FrameHandler& handler);
  Step finish_close(std::string_view payload, FrameHandler& handler);
  Step finish_message(std::string_view payload, FrameHandler& handler);
  Step check_start();
  Step check_length();
  Step fail(CloseCode code) noexcept;
  std::size_t header_bytes_needed() const noexcept;

  const FrameLimits* limits_;
  std::uint64_t remaining_ = 0;             // of the current frame's payload
  std::string message_;                     // earlier fragments and pieces
  std::string control_;                     // a control frame cut in two
  std::array<unsigned char, 14> header_{};  // section 5.2: at most 2 + 8 + 4 bytes
  std::uint8_t header_size_ = 0;
  std::array<unsigned char, 4> mask_{};
  std::uint8_t mask_phase_ = 0;
  Opcode opcode_ = Opcode::continuation;  // of the current frame
  Opcode message_opcode_ = Opcode::text;  // of the message in progress
  bool fin_ = false;
  bool in_frame_ = false;    // header read, payload not complete
  bool in_message_ = false;  // a data frame began a message that is not complete
  Utf8Checker utf8_;
  CloseCode failure_ = CloseCode::normal;
};

}  // namespace waystation
