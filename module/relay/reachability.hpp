// Which users a notification can reach, and the groups that have to know it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "base/intrusive_queue.hpp"
#include "relay/directory.hpp"
#include "relay/fanout.hpp"
#include "relay/scheduler.hpp"

namespace waystation {

/// Keeps User::is_reachable, and announces its changes to the groups of the user on this node. The
/// backplane decides whether a user has a push socket; this class decides when who is told:
///
/// - A user becomes reachable at once. A user whose last push socket closed stays reachable for
///   kGraceMs, so that a page that reloads is not announced.
/// - A user may have thousands of groups. One call of run() sends to kStepsPerRun sockets at most,
///   and the groups of many users take turns. A group gets the latest state only.
///
/// Nothing here is on the path of a message. One thread.
class Reachability {
 public:
  static constexpr std::int64_t kGraceMs = 2000;
  /// Sends of one call of run(), and groups without a send. One group that has more sockets of the
  /// other user is told in one call.
  static constexpr std::size_t kStepsPerRun = 256;

  /// All must outlive this object.
  Reachability(Directory& directory, Fanout& fanout, Scheduler& scheduler) noexcept
      : directory_(directory), fanout_(fanout), scheduler_(scheduler) {}

  /// For the backplane: whether `user` has an open push socket, on this node or another. To be
  /// called at each change, before a push socket that has left is released. A state that did not
  /// change has no effect.
  void set_has_push(User& user, bool has_push) noexcept;

  /// For the scheduler.
  void run() noexcept;

 private:
  /// The last push socket of a user closed. Holds a reference to the user.
  struct Closing {
    std::int64_t until_ms;
    User* user;
  };

  void set_reachable(User& user, bool reachable) noexcept;
  bool announce(User& user, std::size_t& steps) noexcept;

  Directory& directory_;
  Fanout& fanout_;
  Scheduler& scheduler_;
  std::deque<Closing> closing_;                              // the first to end in front
  IntrusiveQueue<User, &User::announcement> announcements_;  // each holds a reference to the user
};

}  // namespace waystation
