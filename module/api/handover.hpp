// The doors of a relay.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/dispatcher.hpp"
#include "api/warning_interval.hpp"
#include "base/file_descriptor.hpp"
#include "base/mutex.hpp"
#include "handover/door.hpp"

namespace waystation {

class Relay;

/// As in the statistics: "handed". NUL-terminated.
std::string_view handover_result_name(HandoverResult result) noexcept;

/// Connects doors with the relay: requests are admitted, and sockets taken, on a thread of its own.
/// It starts with the first door.
class Handover final : private DoorOwner {
 public:
  using Results = std::array<std::atomic<std::uint64_t>, kHandoverResults>;

  explicit Handover(Relay& relay) noexcept : relay_(relay) {}
  ~Handover() { stop(); }

  /// Opens a door on a duplicate of a listening socket. Any thread but the reactor's. False once
  /// the relay has stopped. Throws std::bad_alloc, std::invalid_argument or std::system_error.
  bool listen(int descriptor);

  /// Closes the doors, and waits for the running decision. To be called when the reactor's thread
  /// has ended.
  void stop();

  /// How many askers had each result.
  const Results& results() const noexcept { return results_; }

 private:
  /// The place of a client between GIVE and HERE.
  struct Place;
  struct Decision {
    Door* door;
    std::uint64_t asker;
    std::shared_ptr<const Ask> ask;
  };
  struct Arrival {
    std::shared_ptr<Place> place;
    FileDescriptor socket;
    bool is_pumped;
    std::string early;
  };

  void decide(Door& door, std::uint64_t asker, std::shared_ptr<const Ask> ask) override;
  void withdraw(const Door& door, std::uint64_t asker) noexcept override;
  std::string refuse(const Refusal& refusal) override;
  void take(std::shared_ptr<void> place, FileDescriptor socket, bool is_pumped,
            std::string early) override;
  void on_refused() noexcept override { count(HandoverResult::refused); }
  void on_unavailable(std::string_view why, bool is_fault) noexcept override;

  void work() noexcept;
  std::optional<Arrival> next_arrival();
  std::optional<Decision> next_decision();
  void take(Arrival& arrival);
  /// The same without memory, which is a result too.
  void take_or_count(Arrival& arrival) noexcept;
  void decide(Decision& waiting);
  HandoverDecision decision(std::shared_ptr<const Ask> ask);
  HandoverDecision refused(const Request& request, const Refusal& refusal);
  void count(HandoverResult result) noexcept {
    results_[static_cast<std::size_t>(result)].fetch_add(1, std::memory_order_relaxed);
  }

  Relay& relay_;
  Results results_{};
  WarningInterval warnings_;
  Mutex start_mutex_;
  // Runs work() when woken; set before the first door, then constant.
  std::unique_ptr<Dispatcher> worker_;
  Mutex mutex_;
  // At most one of each asker that is connected.
  std::deque<Decision> decisions_ WAYSTATION_GUARDED_BY(mutex_);
  // Each follows a GIVE, and all are taken before the next decision: so they are bounded too.
  std::deque<Arrival> arrivals_ WAYSTATION_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Door>> doors_;  // of the reactor's thread, while it runs
};

}  // namespace waystation
