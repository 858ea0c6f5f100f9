// Sockets that are none: what the hub sends them is kept, so that tests can look at it.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/hub.hpp"
#include "relay/observer.hpp"

namespace waystation::test {

/// What a fake socket got, and how much it still takes.
class Inbox {
 public:
  bool put(const OutgoingText& text, const Message* delivery) {
    if (room == 0) {
      ++refused;
      return false;
    }
    if (room != kEndless) --room;
    auto& whole = texts.emplace_back(text.head);
    whole.append(text.value).append(text.tail);
    if (delivery != nullptr) deliveries.emplace_back(delivery->to);
    return true;
  }

  /// The next text, taken out; empty where there is none.
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

  static constexpr std::size_t kEndless = static_cast<std::size_t>(-1);
  std::size_t room = kEndless;  // texts that are still taken
  std::size_t refused = 0;
  std::deque<std::string> texts;
  std::vector<std::string> deliveries;  // to whom, for each text that counts as a delivery
  std::vector<std::string> tokens;
  int ended = 0;
  std::int64_t throttled_us = 0;
};

/// A chat socket, in its group for as long as it lives.
class FakeChat final : public ChatMember, public Inbox {
 public:
  FakeChat(Hub& hub, Protocol protocol, std::string_view group, std::string_view user)
      : ChatMember(protocol), hub_(hub) {
    hub_.join_chat(*this, group, user);
  }
  ~FakeChat() { hub_.leave_chat(*this); }

  void say(std::string_view text, const Now& now = {1000, 1000}) { hub_.receive(*this, text, now); }

  bool send(const OutgoingText& text, const Message* delivery) override {
    return put(text, delivery);
  }
  void refresh(std::string token) override { tokens.push_back(std::move(token)); }
  void end_session() override { ++ended; }
  void throttle(std::int64_t us) override { throttled_us += us; }

 private:
  Hub& hub_;
};

/// A push socket, likewise.
class FakePush final : public PushMember, public Inbox {
 public:
  FakePush(Hub& hub, Protocol protocol, std::string_view user) : PushMember(protocol), hub_(hub) {
    hub_.join_push(*this, user);
  }
  ~FakePush() { hub_.leave_push(*this); }

  void say(std::string_view text, const Now& now = {1000, 1000}) { hub_.receive(*this, text, now); }

  bool send(const OutgoingText& text, const Message* delivery) override {
    return put(text, delivery);
  }
  void refresh(std::string token) override { tokens.push_back(std::move(token)); }
  void end_session() override { ++ended; }
  void throttle(std::int64_t us) override { throttled_us += us; }

 private:
  Hub& hub_;
};

/// Keeps what the hub reports.
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
  }
  void on_error_sent(ErrorCode code) noexcept override {
    ++errors;
    codes.push_back(code);
  }

  std::vector<Entry> entries;
  int errors = 0;
  std::vector<ErrorCode> codes;
};

}  // namespace waystation::test
