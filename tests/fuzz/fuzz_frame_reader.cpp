// Bytes of a client: the result does not depend on their segmentation, no message exceeds the
// limit, and every text is UTF-8. The first byte selects the allowed types, the second the
// segmentation.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "websocket/frame_reader.hpp"

using namespace waystation;

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

/// UTF-8 by the table of RFC 3629, section 4, one row after the other.
bool is_utf8_by_the_table(std::string_view text) {
  const auto byte = [&text](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  const auto tail = [&byte](std::size_t at) { return byte(at) >= 0x80 && byte(at) <= 0xBF; };
  for (std::size_t at = 0; at < text.size();) {
    const auto a = byte(at);
    const auto b = byte(at + 1);
    if (a <= 0x7F) {
      at += 1;
    } else if (a >= 0xC2 && a <= 0xDF && tail(at + 1)) {
      at += 2;
    } else if (((a == 0xE0 && b >= 0xA0 && b <= 0xBF) || (a >= 0xE1 && a <= 0xEC && tail(at + 1)) ||
                (a == 0xED && b >= 0x80 && b <= 0x9F) ||
                (a >= 0xEE && a <= 0xEF && tail(at + 1))) &&
               tail(at + 2)) {
      at += 3;
    } else if (((a == 0xF0 && b >= 0x90 && b <= 0xBF) || (a >= 0xF1 && a <= 0xF3 && tail(at + 1)) ||
                (a == 0xF4 && b >= 0x80 && b <= 0x8F)) &&
               tail(at + 2) && tail(at + 3)) {
      at += 4;
    } else {
      return false;
    }
  }
  return true;
}

class Recorder final : public FrameHandler {
 public:
  explicit Recorder(const FrameLimits& limits) : limits_(limits) {}

  bool on_message(Opcode opcode, std::string_view payload) override {
    must(payload.size() <= limits_.max_message_bytes);
    must(opcode == Opcode::text ? is_utf8_by_the_table(payload)
                                : opcode == Opcode::binary && limits_.accept_binary);
    return note(opcode == Opcode::text ? 't' : 'b', payload);
  }
  bool on_ping(std::string_view payload) override {
    must(payload.size() <= 125);
    return note('i', payload);
  }
  bool on_pong(std::string_view payload) override {
    must(payload.size() <= 125);
    return note('o', payload);
  }
  void on_close(CloseCode code, std::string_view reason) override {
    must(code == CloseCode::no_status || may_be_sent(static_cast<std::uint16_t>(code)));
    must(is_utf8_by_the_table(reason));
    note('c', std::to_string(static_cast<int>(code)) + std::string(reason));
    closed = true;
  }

  std::vector<std::string> seen;
  bool closed = false;

 private:
  bool note(char what, std::string_view payload) {
    seen.push_back(what + std::string(payload));
    return true;
  }

  const FrameLimits& limits_;
};

struct Outcome {
  std::vector<std::string> seen;
  std::optional<CloseCode> refused;
  bool unfinished = false;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

constexpr std::size_t kAllFrames = std::numeric_limits<std::size_t>::max();

/// Feeds `bytes` in pieces of the sizes that `next_size` gives, `frames` frames at a time.
template <typename F>
Outcome feed(std::string_view bytes, const FrameLimits& limits, std::size_t frames, F&& next_size) {
  FrameReader reader(limits);
  Recorder recorder(limits);
  while (!bytes.empty()) {
    const auto size = std::min(bytes.size(), next_size());
    std::vector<char> piece(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    bytes.remove_prefix(size);
    std::span<char> unread = piece;
    do {
      const auto before = unread.size();
      if (const auto code = reader.feed(unread, recorder, frames)) {
        return {recorder.seen, code, false};
      }
      if (recorder.closed) return {recorder.seen, std::nullopt, false};
      must(unread.size() < before);
    } while (!unread.empty());
  }
  return {recorder.seen, std::nullopt, reader.is_unfinished()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const FrameLimits limits{(data[0] & 2U) != 0 ? std::size_t{100} : std::size_t{65536},
                           (data[0] & 1U) != 0};
  const std::string_view bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  const auto whole = feed(bytes, limits, kAllFrames, [&bytes] { return bytes.size(); });
  const auto single = feed(bytes, limits, kAllFrames, [] { return std::size_t{1}; });
  must(single == whole);
  std::uint32_t state = data[1] + 1U;
  const auto cut = feed(bytes, limits, 1 + data[1] % 3U, [&state] {
    state = state * 1664525U + 1013904223U;
    return std::size_t{1} + (state >> 24) % 23;
  });
  must(cut == whole);
  return 0;
}
