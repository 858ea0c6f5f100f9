// A backplane that answers later: it shows that the interface permits it.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "relay/backplane.hpp"
#include "relay/fanout.hpp"
#include "relay/reachability.hpp"

namespace waystation::test {

/// Keeps the events of a group in one queue, and answers them when the test calls answer(). If
/// `is_prompt`, it answers each at the end of its own call.
class LateBackplane final : public ClusterBackplane {
 public:
  LateBackplane(Directory& directory, Fanout& fanout, Reachability* reachability = nullptr,
                bool is_prompt = false)
      : directory_(directory),
        fanout_(fanout),
        reachability_(reachability),
        is_prompt_(is_prompt) {}

  void join(ChatMember& member) override {
    queues_[std::string(member.group()->name())].push_back(
        {Event::Kind::join, &member, std::nullopt});
    on_call();
  }
  void leave(ChatMember& member) noexcept override {
    auto& queue = queues_[std::string(member.group()->name())];
    std::erase_if(queue, [&](const Event& event) {
      return event.kind == Event::Kind::join && event.socket == &member;
    });
    for (auto& event : queue) {
      if (event.socket == &member) event.socket = nullptr;
    }
    queue.push_back({Event::Kind::presence, nullptr, std::nullopt});
    on_call();
  }
  void join(PushMember& member) override {
    fanout_.confirm(member);
    if (reachability_ != nullptr) reachability_->set_has_push(*member.user(), true);
  }
  void leave(PushMember& member) noexcept override {
    auto& user = *member.user();
    if (reachability_ != nullptr) reachability_->set_has_push(user, !user.push.empty());
  }

  void publish(ChatMember& sender, const Message& message) override {
    queues_[std::string(sender.group()->name())].push_back(
        {Event::Kind::message, &sender, OwnedMessage(message)});
    on_call();
  }
  void publish_signal(ChatMember& sender, const Message& signal) override {
    queues_[std::string(sender.group()->name())].push_back(
        {Event::Kind::signal, &sender, OwnedMessage(signal)});
    on_call();
  }
  void notify(const Message& notification, Answer<SocketCount> answer) override {
    calls_.push_back(
        [this, owned = std::make_shared<OwnedMessage>(notification), answer = std::move(answer)] {
          const auto reached = fanout_.send_push(owned->view());
          fanout_.report(owned->view(), {reached != 0 ? Route::push : Route::none, reached});
          answer({reached});
        });
    on_call();
  }
  void presence(std::string_view user, Answer<UserPresence> answer) override {
    calls_.push_back([this, user = std::string(user), answer = std::move(answer)] {
      answer(directory_.presence(user));
    });
    on_call();
  }
  void end_sessions(std::string_view user, Answer<SocketCount> answer) override {
    calls_.push_back([this, user = std::string(user), answer = std::move(answer)] {
      answer({directory_.end_sessions(user)});
    });
    on_call();
  }

  void missed(std::string user, MissedQuestion, Answer<MissedAnswer> answer) override {
    calls_.push_back([user = std::move(user), answer = std::move(answer)] {
      answer(Missed{{{user, 1, 1, 1}}, 0, true, "1-1-1-late"});
    });
    on_call();
  }
  void list_users(std::string_view after, std::size_t, UserListing::Answer answer) override {
    calls_.push_back([after = ShortText(after), answer = std::move(answer)] {
      answer(UserPage{{{after}}, false, true});
    });
    on_call();
  }

  void list_nodes(Answer<NodeList> answer) override {
    calls_.push_back([answer = std::move(answer)] { answer({}); });
    on_call();
  }

  /// Answers the oldest event of a group.
  void answer(const std::string& group) {
    auto& queue = queues_.at(group);
    ASSERT_FALSE(queue.empty());
    auto event = std::move(queue.front());
    queue.pop_front();
    answer(group, event);
  }
  /// Answers everything.
  void answer_all() {
    for (auto& [group, queue] : queues_) {
      while (!queue.empty()) answer(group);
    }
    for (auto& call : std::exchange(calls_, {})) call();
  }

 private:
  struct Event {
    enum class Kind : std::uint8_t { join, presence, message, signal };
    Kind kind;
    ChatMember* socket;  // null: it has left
    std::optional<OwnedMessage> message;
  };

  void answer(const std::string& name, Event& event) {
    // The group is destroyed with its last socket.
    auto* const group = directory_.find_group(name);
    switch (event.kind) {
      case Event::Kind::join:
        fanout_.confirm(*event.socket);
        fanout_.send_presence(*event.socket);
        [[fallthrough]];
      case Event::Kind::presence:
        if (group == nullptr) return;
        for (const auto side : {Side::lo, Side::hi}) {
          fanout_.set_presence(*group, side, group->has_socket(side));
        }
        return;
      case Event::Kind::message:
        return decide(group, event);
      case Event::Kind::signal:
        if (group != nullptr) {
          fanout_.send_signal(*group, event.message->view(), event.socket);
        }
    }
  }

  void decide(const Group* group, Event& event) {
    const auto& message = event.message->view();
    MessageTexts texts(chat_text, message);
    Decision decision;
    if (group != nullptr) decision = {Route::chat, fanout_.send_chat(*group, texts, event.socket)};
    if (decision.reached == 0) decision = {Route::push, fanout_.send_push(message)};
    if (decision.reached == 0) decision.route = Route::none;
    if (group != nullptr) fanout_.echo(*group, texts, event.socket, decision.route);
    if (event.socket != nullptr) fanout_.acknowledge(*event.socket, message, decision);
    fanout_.report(message, decision);
  }

  void on_call() {
    if (is_prompt_) answer_all();
  }

  Directory& directory_;
  Fanout& fanout_;
  Reachability* reachability_;
  bool is_prompt_;
  std::map<std::string, std::deque<Event>> queues_;
  std::vector<std::function<void()>> calls_;
};

}  // namespace waystation::test
