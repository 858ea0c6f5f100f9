// The protocol of the engine (RESP2), with hiredis' reader and formatter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct redisReader;
struct redisReplyObjectFunctions;

namespace waystation {

/// One reply, or one element of an array. Views are valid as ReplyReader::next() says.
struct Reply {
  enum class Type : std::uint8_t { nil, integer, text, status, error, array };

  Type type = Type::nil;
  std::int64_t integer = 0;         // Type::integer
  std::string_view text;            // Type::text, status and error
  std::span<const Reply> elements;  // Type::array

  bool is_error() const noexcept { return type == Type::error; }
  /// Whether it is a text or status, equal to `expected`.
  bool is(std::string_view expected) const noexcept {
    return (type == Type::text || type == Type::status) && text == expected;
  }
  /// The text of a text or status; empty for everything else.
  std::string_view as_text() const noexcept {
    return type == Type::text || type == Type::status ? text : std::string_view();
  }
};

/// The largest reply that is read.
struct ReplyLimits {
  std::size_t bytes = 16U << 20U;     // of one reply as it is sent
  std::size_t elements = 64U << 10U;  // of all arrays of one reply together
};

/// Reads replies from a stream of bytes that may be split anywhere. Arrays are read without
/// recursion. A server that sends garbage or a reply above the limits costs no
/// more memory than the limits: next() then returns null for good, and problem() says why.
class ReplyReader {
 public:
  /// Throws std::bad_alloc.
  explicit ReplyReader(const ReplyLimits& limits = {});
  ~ReplyReader();
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;

  /// Takes bytes from the beginning of `bytes`, at most a few KiB, and removes them there. To be
  /// called until nothing is left, each time followed by next() until that returns null.
  void feed(std::span<const char>& bytes) noexcept;

  /// The next whole reply, or null: more bytes are needed, or has_failed(). The reply and its views
  /// are valid until the next call of next(), and while the reader exists.
  const Reply* next() noexcept;

  bool has_failed() const noexcept { return !problem_.empty(); }
  /// A clause: "the reply is larger than 16777216 bytes". Empty where nothing failed.
  std::string_view problem() const noexcept { return problem_; }

 private:
  struct Builder;  // the functions that hiredis calls
  struct Free {
    void operator()(redisReader* reader) const noexcept;
  };
  /// Where the text or the elements of a reply are, until the reply is whole.
  struct Place {
    std::size_t first = 0;
    std::size_t size = 0;
  };

  void begin_reply() noexcept;
  const Reply& finish_reply() noexcept;
  void fail(std::string problem) noexcept;

  ReplyLimits limits_;
  std::unique_ptr<redisReader, Free> reader_;
  std::vector<Reply> replies_;  // the reply, then the elements of each array side by side
  std::vector<Place> places_;   // of the same index
  std::string bytes_;           // the texts of the reply
  std::string problem_;
};

/// Appends a command with its arguments to `out`. Throws std::bad_alloc, and `out` is unchanged.
void append_command(std::string& out, std::span<const std::string_view> arguments);

}  // namespace waystation
