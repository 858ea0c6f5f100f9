// The door: the socket through which other web servers hand over connections. See
// module/HANDOVER.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/file_descriptor.hpp"
#include "handover/message.hpp"
#include "reactor/event_source.hpp"
#include "reactor/loop.hpp"
#include "reactor/timer_queue.hpp"

namespace waystation {

class Door;

/// What became of an asker's connection to the door. Each has one result.
enum class HandoverResult : std::uint8_t {
  handed,       // the client's socket was taken
  pumped,       // the end of a socket pair was taken
  refused,      // REFUSE was sent
  unavailable,  // everything else
};
inline constexpr std::size_t kHandoverResults = 4;

/// The answer to an ASK.
struct HandoverDecision {
  std::shared_ptr<void> place;  // keeps the client's place; null: refused
  std::string refusal;          // the message REFUSE, if refused
};

/// Decides, and takes sockets. All calls come on the reactor's thread and must not wait.
class DoorOwner {
 public:
  /// Decides on another thread, and then calls Door::answer(asker, …) on the reactor's, once.
  /// Throws std::bad_alloc, without an answer.
  virtual void decide(Door& door, std::uint64_t asker, std::shared_ptr<const Ask> ask) = 0;
  /// The asker's connection ended after decide(): a decision that has not begun is not needed.
  virtual void withdraw(const Door& door, std::uint64_t asker) noexcept = 0;
  /// The message REFUSE for an asker whose message is malformed. Throws std::bad_alloc.
  virtual std::string refuse(const Refusal& refusal) = 0;
  /// Takes the socket of an admitted client, and counts the result. `early` are the client's first
  /// bytes. Throws std::bad_alloc.
  virtual void take(std::shared_ptr<void> place, FileDescriptor socket, bool is_pumped,
                    std::string early) = 0;
  /// REFUSE was sent.
  virtual void on_refused() noexcept = 0;
  /// The result of an asker is `unavailable`. `why` is a clause. `is_fault`: the asker did
  /// something wrong.
  virtual void on_unavailable(std::string_view why, bool is_fault) noexcept = 0;

 protected:
  ~DoorOwner() = default;
};

/// One door. Created and used on the reactor's thread. Destroyed there, or after that thread has
/// ended. The loop and the owner must outlive it.
class Door final : public EventSource, private Timer {
 public:
  static constexpr std::size_t kMaxAskers = 256;
  static constexpr std::int64_t kAskMs = 2'000;      // from connecting to ASK
  static constexpr std::int64_t kDecideMs = 30'000;  // from ASK to the decision
  static constexpr std::int64_t kHereMs = 5'000;     // from GIVE to HERE

  /// `listener` is a listening unix socket of type SOCK_SEQPACKET, in non-blocking mode. Throws
  /// std::bad_alloc, and std::system_error where epoll refuses it.
  Door(Loop& loop, DoorOwner& owner, FileDescriptor listener);
  ~Door() override;
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  /// Sends the answer to an asker; nothing happens if it has ended.
  void answer(std::uint64_t asker, HandoverDecision decision) noexcept;

  std::size_t asker_count() const noexcept { return askers_.size(); }

 private:
  class Asker;

  void on_events(std::uint32_t events) noexcept override;
  void on_timer() noexcept override;
  bool accept_one() noexcept;
  void pause() noexcept;
  void listen(bool is_on) noexcept;
  void end(const Asker& asker) noexcept;

  Loop& loop_;
  DoorOwner& owner_;
  FileDescriptor listener_;
  bool is_listening_ = true;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<Asker>> askers_;
};

}  // namespace waystation
