// Puts together what the nodes of a relay answer to a question what a user missed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "relay/missed.hpp"

namespace waystation {

/// Collects one answer of each node. Senders are merged by name: their counts are added.
class MissedAnswers {
 public:
  /// For how long a cursor keeps the position of a node that is gone: as long as an audit keeps its
  /// rows by default.
  static constexpr std::int64_t kKeepGoneMs = std::int64_t{30} * 24 * 3600 * 1000;

  /// `question` is what the nodes are asked; `own` is the name of this node.
  MissedAnswers(MissedQuestion question, std::string own)
      : question_(std::move(question)), own_(std::move(own)) {}

  /// Throws std::bad_alloc. Of two answers of one node, the first counts.
  void add(Missed answer);
  void add(ErrorCode failure);

  /// The answer of all. `nodes` are the names of the nodes that exist now; `is_partial`: not all of
  /// them have answered. `now_ms` is in ms since 1970.
  ///
  /// It is complete only if every node that exists or is in the question's cursor has answered, and
  /// every answer was complete. The cursor keeps the position of a node without an answer, so that
  /// its rows come with a later answer. Without any answer: the first failure, or a timeout. Once;
  /// throws std::bad_alloc.
  MissedAnswer result(std::span<const std::string> nodes, bool is_partial, std::int64_t now_ms);

 private:
  MissedPosition asked_position(const std::string& node) const;

  const MissedQuestion question_;
  const std::string own_;
  std::map<std::string, MissedPosition> positions_;  // of the answers, by node
  std::map<std::string, Missed::Sender> senders_;
  std::uint64_t notifications_ = 0;
  bool is_complete_ = true;
  std::optional<ErrorCode> failure_;
};

}  // namespace waystation
