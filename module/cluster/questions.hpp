// Calls of the host application that all nodes answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "cluster/node_message.hpp"
#include "cluster/shard.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/backplane.hpp"
#include "relay/directory.hpp"

namespace waystation {

/// Asks every node, this one too, and puts the answers together. After a second without all of
/// them, the answer is partial. The loop's thread only.
class Questions final : private Timer {
 public:
  /// Both must outlive it.
  Questions(Loop& loop, Directory& directory)
      : Timer(loop.timers()), loop_(loop), directory_(directory) {}

  /// `shard` is one that is ready; null: none is, and only this node answers. Each throws
  /// std::bad_alloc.
  void presence(Shard* shard, std::string_view user, Answer<UserPresence> answer);
  void end_sessions(Shard* shard, std::string_view user, Answer<SocketCount> answer);

  /// A question of a node, this one too, and an answer to this node. Throw std::bad_alloc.
  void on_question(Shard& shard, const NodeHeader& header, std::string_view body);
  void on_answer(const NodeHeader& header, std::string_view body);

 private:
  enum class Kind : std::uint8_t { presence = 1, end_sessions = 2 };

  struct Asked {
    std::int64_t deadline_ms = 0;
    std::size_t answers = 0;
    std::size_t nodes = 0;  // that were asked; 0: not known yet
    UserPresence found;     // end_sessions: push_sockets is the number of sockets
    Answer<UserPresence> answer;
  };

  void ask(Shard* shard, Kind kind, std::string_view user, Answer<UserPresence> answer);
  UserPresence answer_here(Kind kind, std::string_view user);
  void finish_if_complete(std::uint32_t id) noexcept;
  void finish(std::map<std::uint32_t, Asked>::iterator asked, bool is_partial) noexcept;
  void on_timer() noexcept override;

  Loop& loop_;
  Directory& directory_;
  std::map<std::uint32_t, Asked> asked_;  // by number, which is also the order of their deadlines
  std::uint32_t next_ = 1;
};

}  // namespace waystation
