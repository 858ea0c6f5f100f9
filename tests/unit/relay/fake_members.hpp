// A relay without sockets: what it sends to a member is recorded for the test.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/local_backplane.hpp"
#include "relay/observer.hpp"
#include "relay/reachability.hpp"
#include "relay/router.hpp"
#include "relay/user_listing.hpp"
#include "unit/relay/late_backplane.hpp"

namespace waystation::test {

/// What a fake socket received, and how much more its queue accepts.
class Inbox {
 public:
  /// The next text, taken out; empty if there is none.
  std::string next() {
    if (texts.empty()) return {};
    auto text = std::move(texts.front());
    texts.pop_front();
    return text;
  }

  /// All texts, taken out.
  std::vector<std::string> all() {
    std::vector<std::string> result(texts.begin(), texts.end());
    texts.clear();
    return result;
  }

  static constexpr std::size_t kUnlimited = static_cast<std::size_t>(-1);
  std::size_t capacity = kUnlimited;  // texts that are still accepted
  std::size_t refused = 0;
  std::deque<std::string> texts;
  std::vector<std::string> deliveries;  // the receiver of each text that counts as a delivery
  std::vector<Side> delivery_sides;     // where that user stands in the group's name
  std::vector<std::uint32_t> taken;     // by how many sockets, for each text that is a delivery
  std::vector<std::string> tokens;
  std::vector<ShortText> token_ids;
  std::vector<MissedQuestion> questions;
  int joins = 0;
  int ended = 0;
  int gone = 0;
  std::int64_t throttled_us = 0;

 protected:
  bool put(const OutgoingText& text, const Message* delivery, bool is_joined) {
    EXPECT_TRUE(is_joined) << "a text was sent before the join was confirmed";
    if (capacity == 0) {
      ++refused;
      return false;
    }
    if (capacity != kUnlimited) --capacity;
    auto& whole = texts.emplace_back(text.head);
    whole.append(text.value).append(text.tail);
    if (delivery != nullptr) {
      deliveries.emplace_back(delivery->to);
      delivery_sides.push_back(delivery->to_side);
      taken.push_back(delivery->taken);
      last_key_ = delivery->key;
    }
    return true;
  }

  std::uint64_t last_key_ = 0;
};

/// A fake socket. `Base` is ChatMember or PushMember.
template <typename Base>
class FakeMember : public Base, public Inbox {
 public:
  void say(std::string_view text, const Now& now = {1000, 1000}) {
    router_.receive(*this, text, now);
  }

  void on_joined() noexcept override { ++joins; }
  bool send(const OutgoingText& text, const Message* delivery) override {
    return put(text, delivery, this->is_joined());
  }
  void refresh(std::string token, const ShortText& id) override {
    tokens.push_back(std::move(token));
    token_ids.push_back(id);
  }
  void set_taken(std::uint64_t key, std::uint32_t sockets) noexcept override {
    if (key == last_key_) taken.back() = sockets;
  }
  void ask_missed(MissedQuestion question, const ShortText&) override {
    questions.push_back(std::move(question));
  }
  void end_session() override { ++ended; }
  void go_away() override { ++gone; }
  void throttle(std::int64_t us) override { throttled_us += us; }

 protected:
  FakeMember(Router& router, Protocol protocol) : Base(protocol), router_(router) {}
  ~FakeMember() { router_.leave(*this); }

  Router& router_;
};

/// A chat socket that belongs to its group during its lifetime.
class FakeChat final : public FakeMember<ChatMember> {
 public:
  FakeChat(Router& router, Protocol protocol, std::string_view group, std::string_view user)
      : FakeMember(router, protocol) {
    router_.join(*this, group, user);
  }
};

/// A push socket, likewise.
class FakePush final : public FakeMember<PushMember> {
 public:
  FakePush(Router& router, Protocol protocol, std::string_view user)
      : FakeMember(router, protocol) {
    router_.join(*this, user);
  }
};

/// Records what the relay reports.
class Recorder final : public Observer {
 public:
  struct Entry {
    Outcome outcome;
    std::int64_t at;
    std::string group, from, to, id;
    std::size_t reached, bytes;
    friend bool operator==(const Entry&, const Entry&) = default;
  };

  void on_delivery(const Delivery& d) noexcept override {
    entries.push_back({d.outcome, d.at, std::string(d.group), std::string(d.from),
                       std::string(d.to), std::string(d.id), d.reached, d.bytes});
    keys.push_back(d.key);
  }
  void on_error_sent(ErrorCode code) noexcept override {
    ++errors;
    codes.push_back(code);
  }

  std::vector<Entry> entries;
  std::vector<std::uint64_t> keys;  // of their messages
  int errors = 0;
  std::vector<ErrorCode> codes;
};

/// A clock and a timer that the test moves.
class FakeScheduler final : public Scheduler {
 public:
  const Now& now() const noexcept override { return time; }
  void run_at(std::int64_t steady_ms) noexcept override {
    if (!due_ms || steady_ms < *due_ms) due_ms = steady_ms;
  }

  /// Whether run() has to be called; then it is not due any more.
  bool take_due() {
    if (!due_ms || *due_ms > time.steady_ms) return false;
    due_ms.reset();
    return true;
  }

  Now time{1000, 1000};
  std::optional<std::int64_t> due_ms;
};

/// A relay of one node, as RelayService builds it; or, `is_late`, over a backplane that keeps each
/// event before it answers.
struct LocalRelay {
  explicit LocalRelay(const RateLimit& limit = {}, bool is_late = false)
      : directory(limit), made(make_backplane(is_late)) {}

  std::unique_ptr<Backplane> make_backplane(bool is_late) {
    if (!is_late) return std::make_unique<LocalBackplane>(directory, fanout, reachability);
    return std::make_unique<LateBackplane>(directory, fanout, &reachability, true);
  }

  /// Does the work that is due until none is left, and returns the number of rounds.
  int work() {
    int rounds = 0;
    for (; scheduler.take_due(); ++rounds) {
      reachability.run();
      listing.run();
    }
    return rounds;
  }
  /// The same after `ms` more.
  int work_after(std::int64_t ms) {
    scheduler.time.steady_ms += ms;
    return work();
  }

  // Each throws std::bad_optional_access if the answer does not come within the call.
  std::size_t notify(std::string_view user, std::string_view json, const Now& now) {
    std::optional<std::size_t> reached;
    router.notify(user, json, now, [&](SocketCount answer) { reached = answer.sockets; });
    return reached.value();
  }
  UserPresence presence(std::string_view user) {
    std::optional<UserPresence> presence;
    backplane.presence(user, [&](UserPresence answer) { presence = std::move(answer); });
    return presence.value();
  }
  std::size_t end_sessions(std::string_view user) {
    std::optional<std::size_t> ended;
    backplane.end_sessions(user, [&](SocketCount answer) { ended = answer.sockets; });
    return ended.value();
  }

  Recorder recorder;
  Directory directory;
  Fanout fanout{directory, recorder};
  FakeScheduler scheduler;
  Reachability reachability{directory, fanout, scheduler};
  std::unique_ptr<Backplane> made;
  Backplane& backplane = *made;
  UserListing listing{directory, scheduler};
  Router router{directory, fanout, backplane};
};

}  // namespace waystation::test
