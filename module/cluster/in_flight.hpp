// The messages of this node whose decision is not known yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>

#include "relay/backplane.hpp"
#include "relay/member.hpp"
#include "relay/message.hpp"

namespace waystation {

/// The messages that were handed to one engine, in order. Each is told apart by a number, which its
/// frame carries. A message stays here until its decision has arrived on both ways, or its deadline
/// has passed: after that the engine does not decide it any more.
class InFlight {
 public:
  enum class Kind : std::uint8_t { message, signal, notification };

  struct Entry {
    std::uint32_t number;
    Kind kind;
    ChatMember* sender;  // null: it has left, or a notification
    OwnedMessage message;
    std::int64_t deadline_ms;    // by the loop's clock
    Answer<SocketCount> answer;  // of a notification
    Decision decision;           // once is_decided
    bool is_decided = false;     // the decision is known and reported
    bool is_shown = false;       // the event of the decision has arrived: the sender knows it
    bool is_replied = false;     // the reply of the engine has arrived
    bool is_lost = false;        // the connection was lost before the reply
    bool is_failed = false;      // the sender was told that it is not known, or not passed on

    bool is_done() const noexcept {
      return is_failed ? is_replied : is_replied && (is_shown || kind == Kind::notification);
    }
  };

  /// The number of the next entry.
  std::uint32_t next() const noexcept { return first_ + static_cast<std::uint32_t>(size()); }
  std::size_t size() const noexcept { return entries_.size(); }

  /// Throws std::bad_alloc. The reference is valid until the entry is removed.
  Entry& add(Kind kind, ChatMember* sender, const Message& message, std::int64_t deadline_ms);
  /// Takes the last back: it was not sent.
  void drop_last() noexcept { entries_.pop_back(); }

  /// Null: it is not here any more.
  Entry* find(std::uint32_t number) noexcept;

  /// Whether the engine may still decide a message of the group.
  bool has_group(std::string_view group) const noexcept;
  /// Whether the event of a message of the group has not arrived yet.
  bool has_unshown(std::string_view group) const noexcept;
  /// The sender has left. Nothing waits for its signals any more.
  void forget_sender(const ChatMember& sender) noexcept;

  /// Removes what is done at the front. Calls `expire(Entry&)` for each whose deadline has passed,
  /// and removes it too.
  template <typename F>
  void settle(std::int64_t now_ms, F&& expire) {
    while (!entries_.empty()) {
      auto& entry = entries_.front();
      if (!entry.is_done()) {
        if (entry.deadline_ms > now_ms) return;
        expire(entry);
      }
      entries_.pop_front();
      ++first_;
    }
  }

  template <typename F>
  void for_each(F&& f) {
    for (auto& entry : entries_) f(entry);
  }

  /// Whether the message with the number `last`, and all before it, are settled.
  bool is_settled(std::uint32_t last) const noexcept {
    return static_cast<std::int32_t>(first_ - last) > 0;
  }

 private:
  std::deque<Entry> entries_;
  std::uint32_t first_ = 1;  // the number of the first
};

}  // namespace waystation
