// The parser for client frames: frames in, whole messages out (RFC 6455, sections 5 to 8).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/utf8.hpp"
#include "websocket/close_code.hpp"
#include "websocket/opcode.hpp"

namespace waystation {

/// Receives the output of a FrameReader. The views are valid during the call. True continues with
/// the next frame. False stops the reader after this frame.
class FrameHandler {
 public:
  /// A whole message, unmasked and reassembled; `opcode` is text (checked UTF-8) or binary.
  virtual bool on_message(Opcode opcode, std::string_view payload) = 0;
  virtual bool on_ping(std::string_view payload) = 0;
  virtual bool on_pong(std::string_view payload) = 0;
  /// The peer's Close; `code` is no_status if it has none. The reader stops after it.
  virtual void on_close(CloseCode code, std::string_view reason) = 0;

 protected:
  ~FrameHandler() = default;
};

/// The limits of all readers of a server.
struct FrameLimits {
  std::size_t max_message_bytes = 65536;  // all fragments together
  bool accept_binary = false;             // false: a binary message closes with 1003
};

/// The incremental frame parser of one connection. The input may be split at any byte. It allocates
/// only while a message or control frame is incomplete, and only for bytes that have arrived: the
/// length in a frame header allocates nothing.
class FrameReader {
 public:
  /// `limits` must outlive the reader.
  explicit FrameReader(const FrameLimits& limits) noexcept : limits_(&limits) {}

  /// Parses at most `max_frames` frames (at least 1) of `bytes`, unmasks them in place, and calls
  /// `handler` for each complete message and control frame. `bytes` becomes the unread rest, which
  /// must be fed next. It is not empty after `max_frames` frames, or after the handler returned
  /// false.
  ///
  /// Returns a close code if the peer violated the protocol: protocol_error, unsupported_data,
  /// invalid_payload or message_too_big. After that, or after on_close, feed() must not be called.
  std::optional<CloseCode> feed(std::span<char>& bytes, FrameHandler& handler,
                                std::size_t max_frames);

  /// Whether a frame or a fragmented message has begun and is not complete.
  bool is_unfinished() const noexcept { return header_size_ != 0 || in_frame_ || in_message_; }

  /// Missing payload bytes of the current frame; 0 between frames.
  std::uint64_t frame_rest() const noexcept { return remaining_; }

 private:
  /// What follows. Every other value is the code of a violation: see fail().
  enum class Step : std::uint16_t { go_on, stop, need_more };

  /// What has arrived of a message and of a control frame that are not complete.
  struct Parts {
    std::string message;
    std::string control;
  };

  void keep(std::string Parts::*part, std::string_view bytes);
  std::string take(std::string Parts::*part, std::string_view last);
  bool has(std::string Parts::*part) const noexcept { return parts_ && !((*parts_).*part).empty(); }

  Step read_header(std::span<char>& bytes);
  Step read_payload(std::span<char>& bytes, FrameHandler& handler);
  Step finish_control(std::string_view payload, FrameHandler& handler);
  Step finish_close(std::string_view payload, FrameHandler& handler);
  Step finish_message(std::string_view payload, FrameHandler& handler);
  Step check_start();
  Step check_length();
  static Step fail(CloseCode code) noexcept { return static_cast<Step>(code); }
  std::size_t header_bytes_needed() const noexcept;
  std::span<unsigned char, 4> mask() noexcept { return std::span(header_).last<4>(); }

  const FrameLimits* limits_;
  std::uint64_t remaining_ = 0;   // of the current frame's payload
  std::unique_ptr<Parts> parts_;  // null: both are empty
  // Section 5.2: at most 2 + 8 + 4 bytes. While a frame's payload arrives, its end is the mask.
  std::array<unsigned char, 14> header_{};
  std::uint8_t header_size_ = 0;
  std::uint8_t mask_phase_ = 0;
  Opcode opcode_ = Opcode::continuation;  // of the current frame
  Opcode message_opcode_ = Opcode::text;  // of the message in progress
  bool fin_ : 1 = false;
  bool in_frame_ : 1 = false;    // header read, payload not complete
  bool in_message_ : 1 = false;  // a fragmented message is not complete
  Utf8Checker utf8_;
};

}  // namespace waystation
