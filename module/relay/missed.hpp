// The question who tried to reach a user while they were away, and its answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "relay/envelope.hpp"

namespace waystation {

/// Which rows of one node's audit an answer covered.
struct MissedPosition {
  std::int64_t time = 0;  // of the answer, in ms since 1970, by the node's clock
  std::int64_t id = 0;    // the newest row
  std::int64_t file = 0;  // identifies the audit's file; row ids are its own. 0: no file
  std::string node;       // whose rows they are: see is_node_name()
};

/// Which rows an answer covered, of every node. Clients store it as an opaque text.
struct MissedCursor {
  static constexpr std::size_t kMaxNodes = 200;
  static constexpr std::size_t kMaxBytes = 8000;

  /// Not empty; the first one is of the node that answered, and each node occurs once.
  std::vector<MissedPosition> positions;
  /// From when other nodes are asked, in ms since 1970: they have never answered. Nothing: the time
  /// of the first position.
  std::optional<std::int64_t> since = {};

  std::int64_t unnamed_since() const { return since.value_or(positions.front().time); }

  /// The position of `node`. For a node that the cursor does not name: no file, and
  /// unnamed_since().
  MissedPosition on(std::string_view node) const;

  /// "<time>-<id>-<file>-<node>" of each position, and then `since`, with '~' between them: no
  /// character that a URL must escape.
  std::string text() const;
  /// Reads such a text of at most kMaxBytes and kMaxNodes.
  static std::optional<MissedCursor> parse(std::string_view text);
};

/// Either `after` or `since`.
struct MissedQuestion {
  std::int64_t since = 0;             // ms since 1970, inclusive
  std::optional<MissedCursor> after;  // an earlier answer
};

/// Reads the question in {"missed": `object`}, which is JSON. Unknown names are ignored. The error
/// is a text for the client.
Result<MissedQuestion, const char*> read_missed(std::string_view object);

/// The largest time that JSON transports exactly: 2^53 - 1.
inline constexpr std::int64_t kMaxJsonInteger = (std::int64_t{1} << 53) - 1;

/// The most senders that an answer names.
inline constexpr std::size_t kMaxMissedSenders = 100;

/// Messages to a user that no socket took, or that every socket lost which had taken them.
struct Missed {
  struct Sender {
    std::string user;
    std::uint64_t count = 0;  // messages with different ids, and messages without one
    std::int64_t first = 0;   // times of the first and the last, in ms since 1970
    std::int64_t last = 0;
  };
  std::vector<Sender> from;         // the latest first; at most kMaxMissedSenders
  std::uint64_t notifications = 0;  // of the host application
  bool complete = false;            // nothing that belongs here can be missing
  std::string next;                 // a MissedCursor, for the next question
};

/// {"missed":{"from":[{"user":…,"count":N,"first":ms,"last":ms}…],"notifications":N,
/// "complete":bool,"next":"…"}}
std::string missed_text(const Missed& missed);

/// Why there is no answer.
struct MissedFailure {
  ErrorCode code;  // audit_off, audit_unavailable, audit_busy or timeout
  // For the user who asked. Static storage, so that a failure needs no memory.
  std::string_view detail;
};

/// The failure with its usual text.
MissedFailure missed_failure(ErrorCode code) noexcept;
/// audit_busy, of a user whose last question still waits.
MissedFailure second_question_failure() noexcept;

using MissedAnswer = Result<Missed, MissedFailure>;

/// Answers questions on another thread, because an answer needs the disk.
class MissedSource {
 public:
  using Completion = std::function<void(MissedAnswer)>;

  /// An answer needs no longer than this, unless many questions wait or another program keeps
  /// readers from the file. Others may wait for it so long.
  static constexpr std::chrono::milliseconds kAnswerTime{4500};

  /// One thread at a time; must not wait. The answer covers the rows that were reported before the
  /// call. `done` is called once, on another thread; if the question is refused, inside the call.
  /// Throws std::bad_alloc, and `done` is not called.
  virtual void ask_missed(std::string user, MissedQuestion question, Completion done) = 0;

 protected:
  ~MissedSource() = default;
};

}  // namespace waystation
