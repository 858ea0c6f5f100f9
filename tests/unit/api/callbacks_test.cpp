#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "api/log_lines.hpp"
#include "unit/api/embedder.hpp"

namespace waystation::test {
namespace {

/// The host application's callbacks; each test sets them.
struct Callbacks {
  std::function<void(const waystation_event&)> on_event;
  std::function<int(const waystation_request&, waystation_identity&)> identify;
  std::function<void(std::string_view)> on_log;  // may be empty

  std::mutex mutex;
  std::vector<std::string> lines;

  bool logged(std::string_view part) {
    const std::lock_guard lock(mutex);
    for (const auto& line : lines) {
      if (line.find(part) != std::string::npos) return true;
    }
    return false;
  }

  void put_into(waystation_options& options) {
    options.user_data = this;
    options.on_event = [](void* self, const waystation_event* event) {
      static_cast<Callbacks*>(self)->on_event(*event);
    };
    options.identify = [](void* self, const waystation_request* request,
                          waystation_identity* identity) {
      return static_cast<Callbacks*>(self)->identify(*request, *identity);
    };
    options.on_log = [](void* self, waystation_log_level, const char* line) {
      auto& callbacks = *static_cast<Callbacks*>(self);
      if (callbacks.on_log) callbacks.on_log(line);
      const std::lock_guard lock(callbacks.mutex);
      callbacks.lines.emplace_back(line);
    };
  }
};

/// A key file, deleted by the destructor.
class KeyFile {
 public:
  KeyFile() {
    std::ofstream(path_) << "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQ=\n";
    std::filesystem::permissions(path_, std::filesystem::perms::owner_read);
  }
  ~KeyFile() { std::filesystem::remove(path_); }
  KeyFile(const KeyFile&) = delete;
  KeyFile& operator=(const KeyFile&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_ = testing::TempDir() + "waystation-key-" + std::to_string(getpid());
};

class CallbacksTest : public testing::Test {
 protected:
  CallbacksTest() { callbacks_.put_into(options_); }

  Callbacks callbacks_;
  waystation_options options_ = default_options();
};

std::string or_null(const char* text) {
  return text == nullptr ? "(null)" : text;
}

TEST_F(CallbacksTest, ReportFallbacksAndUndeliveredMessagesOnTheCallbackThread) {
  std::vector<std::string> heard;
  std::thread::id thread;
  callbacks_.on_event = [&](const waystation_event& event) {
    thread = std::this_thread::get_id();
    heard.push_back(std::to_string(event.outcome) + " " + or_null(event.group) + " " +
                    or_null(event.from) + " " + or_null(event.to) + " " +
                    or_null(event.message_id) + " " + std::to_string(event.reached) + " " +
                    std::to_string(event.bytes));
  };
  Embedded relay(options_);
  auto alice = relay.open("/ws/chat/alice_bob/", "user=alice", "waystation.v1");
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  alice.say(R"({"message":"hello","id":"m1"})");
  EXPECT_NE(alice.hear().find(R"("route":"none")"), std::string::npos);
  auto bob = relay.open("/push/bob/");
  EXPECT_NE(alice.hear().find(R"("reachable":true)"), std::string::npos);
  alice.say(R"({"message":12})");
  EXPECT_NE(alice.hear().find(R"("route":"push")"), std::string::npos);
  relay.push("bob");
  relay.free();
  EXPECT_EQ(heard, (std::vector<std::string>{"2 alice_bob alice bob m1 0 7",
                                             "1 alice_bob alice bob (null) 1 2",
                                             "1 (null) (null) bob (null) 1 1"}));
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST_F(CallbacksTest, BlockedCallbackLosesCountedEventsButSocketsContinue) {
  std::promise<void> release;
  const auto released = release.get_future().share();
  std::atomic<std::uint64_t> heard = 0;
  callbacks_.on_event = [&](const waystation_event&) {
    released.wait();
    ++heard;
  };
  options_.messages_per_second = 0;
  Embedded relay(options_);
  auto alice = relay.open("/ws/chat/alice_bob/", "user=alice", "waystation.v1");
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  // Each push fails immediately, however long the callback blocks.
  constexpr std::uint64_t kMessages = 10'000;
  std::thread sender([&] {
    std::string frames;
    for (std::uint64_t i = 0; i < kMessages; ++i) frames += frame(Opcode::text, R"({"message":1})");
    alice.send(frames);
  });
  for (std::uint64_t i = 0; i < kMessages; ++i) {
    ASSERT_NE(alice.hear().find(R"("route":"none")"), std::string::npos);
  }
  sender.join();
  const auto lost = relay.stats().events_lost;
  EXPECT_GT(lost, 0U);
  EXPECT_EQ(relay.stats().messages_undelivered, kMessages);
  release.set_value();
  EXPECT_TRUE(eventually([&] { return heard + lost == kMessages; }));
  EXPECT_EQ(relay.stats().events_lost, lost);
}

TEST_F(CallbacksTest, MayCallTheLibrary) {
  std::promise<std::vector<int>> done;
  std::optional<Embedded> relay;
  bool first = true;
  callbacks_.on_event = [&](const waystation_event& event) {
    if (!std::exchange(first, false)) return;
    auto* const handle = relay->get();
    waystation_call_result reached = WAYSTATION_CALL_RESULT_INIT, sockets = reached,
                           closed = reached;
    std::vector<int> statuses;
    statuses.push_back(waystation_push(handle, event.to, "2", 1, 20'000, &reached));
    statuses.push_back(waystation_presence(handle, event.to, 20'000, &sockets));
    statuses.push_back(waystation_reconfigure(handle, &options_, nullptr));
    waystation_stats stats{};
    stats.size = sizeof stats;
    statuses.push_back(waystation_stats_read(handle, &stats));
    statuses.push_back(waystation_end_sessions(handle, event.to, 20'000, &closed));
    statuses.push_back(waystation_drain(handle, 0));
    statuses.push_back(
        static_cast<int>(sockets.sockets * 100 + closed.sockets * 10 + reached.sockets));
    done.set_value(statuses);
  };
  relay.emplace(options_);
  auto bob = relay->open("/push/bob/");
  relay->push("bob");
  EXPECT_EQ(done.get_future().get(), (std::vector<int>{0, 0, 0, 0, 0, 0, 111}));
  EXPECT_NE(bob.hear().find(R"("message":1)"), std::string::npos);
  EXPECT_NE(bob.hear().find(R"("message":2)"), std::string::npos);
  EXPECT_EQ(bob.hear(), "(closed 4403)");
}

TEST_F(CallbacksTest, FreeingTheRelayInACallbackIsRefusedAndLogged) {
  std::promise<void> done;
  std::optional<Embedded> relay;
  bool first = true;
  callbacks_.on_event = [&](const waystation_event&) {
    if (!std::exchange(first, false)) return;
    waystation_free(relay->get());
    done.set_value();
  };
  relay.emplace(options_);
  relay->push("bob");
  done.get_future().wait();
  EXPECT_TRUE(eventually([&] { return callbacks_.logged("waystation_free"); }));
  auto bob = relay->open("/push/bob/");
  relay->push("bob");
  EXPECT_NE(bob.hear().find("event"), std::string::npos);
}

TEST_F(CallbacksTest, IdentifyMayCallTheLibrary) {
  std::optional<Embedded> relay;
  std::vector<int> statuses;
  waystation_call_result reached = WAYSTATION_CALL_RESULT_INIT, sockets = reached, closed = reached;
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  callbacks_.on_event = [](const waystation_event&) {};
  callbacks_.identify = [&](const waystation_request& request, waystation_identity& identity) {
    std::string("alice").copy(identity.user, 5);
    if (request.query == nullptr) return 1;
    // A new login: end_sessions closes the older sockets.
    auto* const handle = relay->get();
    waystation_stats stats{};
    stats.size = sizeof stats;
    statuses = {waystation_push(handle, "alice", "2", 1, 20'000, &reached),
                waystation_presence(handle, "alice", 20'000, &sockets),
                waystation_reconfigure(handle, &options_, nullptr),
                waystation_stats_read(handle, &stats),
                waystation_end_sessions(handle, "alice", 20'000, &closed)};
    return 1;
  };
  relay.emplace(options_);
  auto before = relay->open("/push/alice/");
  auto after = relay->open("/push/alice/", "again");
  EXPECT_EQ(statuses, (std::vector<int>{0, 0, 0, 0, 0}));
  EXPECT_EQ(sockets.sockets * 100 + closed.sockets * 10 + reached.sockets, 111U);
  EXPECT_NE(before.hear().find(R"("message":2)"), std::string::npos);
  EXPECT_EQ(before.hear(), "(closed 4403)");
  relay->push("alice");
  EXPECT_NE(after.hear().find(R"("message":1)"), std::string::npos);
}

TEST_F(CallbacksTest, FreeingTheRelayInIdentifyIsRefusedAndLogged) {
  std::optional<Embedded> relay;
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  callbacks_.on_event = [](const waystation_event&) {};
  callbacks_.identify = [&](const waystation_request&, waystation_identity& identity) {
    waystation_free(relay->get());
    // Another relay may be freed.
    const Embedded other(default_options());
    int status = 0;
    other.knock("/push/alice/", "", nullptr, &status);
    EXPECT_EQ(status, 101);
    std::string("alice").copy(identity.user, 5);
    return 1;
  };
  relay.emplace(options_);
  auto alice = relay->open("/push/alice/");
  EXPECT_TRUE(eventually([&] { return callbacks_.logged("waystation_free"); }));
  relay->push("alice");
  EXPECT_NE(alice.hear().find("event"), std::string::npos);
}

TEST_F(CallbacksTest, LogRunsOnTheEventThreadAndMayCallTheLibrary) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::vector<int> statuses;
  std::promise<waystation_relay*> handle;
  auto relay_is_there = handle.get_future().share();
  const auto note_thread = [&] {
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  };
  callbacks_.on_event = [&](const waystation_event&) { note_thread(); };
  callbacks_.on_log = [&](std::string_view) {
    note_thread();
    if (!statuses.empty()) return;
    auto* const relay = relay_is_there.get();
    waystation_call_result reached = WAYSTATION_CALL_RESULT_INIT, sockets = reached,
                           closed = reached;
    statuses.push_back(waystation_push(relay, "bob", "2", 1, 20'000, &reached));
    statuses.push_back(waystation_presence(relay, "bob", 20'000, &sockets));
    statuses.push_back(waystation_reconfigure(relay, &options_, nullptr));
    statuses.push_back(waystation_end_sessions(relay, "bob", 20'000, &closed));
    statuses.push_back(
        static_cast<int>(sockets.sockets * 100 + closed.sockets * 10 + reached.sockets));
  };
  options_.allow_open_network = 1;  // causes a warning
  // waystation_new returns while the callback waits for it: the callback runs on no caller's
  // thread.
  Embedded relay(options_);
  auto bob = relay.open("/push/bob/");
  handle.set_value(relay.get());
  EXPECT_NE(bob.hear().find(R"("message":2)"), std::string::npos);
  EXPECT_EQ(bob.hear(), "(closed 4403)");
  relay.push("nobody");
  relay.free();
  EXPECT_EQ(statuses, (std::vector<int>{0, 0, 0, 0, 111}));
  EXPECT_EQ(threads.size(), 1U);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 0U);
  // One line by waystation_new, one by waystation_reconfigure.
  EXPECT_EQ(callbacks_.lines.size(), 2U);
}

TEST_F(CallbacksTest, FreeReturnsAfterTheLastLogLine) {
  callbacks_.on_event = [](const waystation_event&) {};
  callbacks_.on_log = [](std::string_view) {
    // Takes longer than making and freeing a relay.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  options_.allow_open_network = 1;
  for (std::size_t i = 1; i <= 10; ++i) {
    { const Embedded relay(options_); }
    EXPECT_EQ(callbacks_.lines.size(), i);
  }
}

TEST_F(CallbacksTest, SlowLogCallbackLosesCountedLinesButSocketsContinue) {
  constexpr std::uint64_t kLost = 10;
  std::promise<void> entered, release;
  auto released = release.get_future().share();
  std::atomic<int> calls = 0;
  callbacks_.on_event = [](const waystation_event&) {};
  callbacks_.on_log = [&](std::string_view) {
    if (calls++ == 0) entered.set_value();
    released.wait();
  };
  options_.allow_open_network = 1;
  Embedded relay(options_);
  entered.get_future().wait();
  for (std::uint64_t i = 0; i < LogLines::kMaxLines + kLost; ++i) {
    ASSERT_EQ(waystation_reconfigure(relay.get(), &options_, nullptr), WAYSTATION_OK);
  }
  EXPECT_EQ(relay.stats().log_lines_lost, kLost);
  auto bob = relay.open("/push/bob/");
  relay.push("bob");
  EXPECT_NE(bob.hear().find("event"), std::string::npos);
  release.set_value();
  relay.free();
  EXPECT_TRUE(callbacks_.logged("10 log lines were lost"));
  EXPECT_EQ(callbacks_.lines.size(), 1 + LogLines::kMaxLines + 1);
}

TEST_F(CallbacksTest, FreeWaitsOnlyForTheRunningCallback) {
  constexpr int kEvents = 100;
  std::promise<void> entered, release;
  std::atomic<int> running = 0, heard = 0;
  callbacks_.on_event = [&](const waystation_event&) {
    ++running;
    if (heard == 0) {
      entered.set_value();
      release.get_future().wait();
    }
    // So slow that all events together take ten times as long as waystation_free keeps starting
    // them.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ++heard;
    --running;
  };
  Embedded relay(options_);
  const auto id = relay.id();
  for (int i = 0; i < kEvents; ++i) relay.push("bob");
  entered.get_future().wait();
  std::thread freeing([&] {
    relay.free();
    EXPECT_EQ(running, 0);
    EXPECT_GE(heard, 1);
    EXPECT_LT(heard, kEvents);
    EXPECT_TRUE(callbacks_.logged(std::to_string(kEvents - heard) + " events were not delivered"));
  });
  EXPECT_TRUE(eventually([&] { return waystation_max_body_bytes(id) == 0; }));
  release.set_value();
  freeing.join();
}

TEST_F(CallbacksTest, FreeWith500BusySocketsReleasesAllAndCallsNothingLater) {
  // Both ends of each socket are in this process, and the relay keeps some descriptors free.
  constexpr rlim_t kDescriptors = 1200;
  if (const auto limit = raise_descriptor_limit(); limit < kDescriptors) {
    GTEST_SKIP() << "a process here may open " << limit << " descriptors, and this takes "
                 << kDescriptors;
  }
  std::atomic<bool> freed = false;
  std::atomic<int> late = 0;
  callbacks_.on_event = [&](const waystation_event&) {
    if (freed) ++late;
    // Slower than events arrive, so that some wait when the relay is freed.
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  options_.messages_per_second = 0;
  { const Embedded warm_up(options_); }
  const auto before = open_descriptors();
  {
    Embedded relay(options_);
    std::vector<WebSocketClient> clients;
    for (int i = 0; i < 250; ++i) {
      const auto user = std::to_string(i);
      clients.push_back(relay.open("/ws/chat/" + user + "_1000/", "user=" + user));
      clients.push_back(relay.open("/push/" + user + "/"));
    }
    std::atomic<bool> done = false;
    std::vector<std::thread> busy;
    for (std::size_t t = 0; t < 4; ++t) {
      busy.emplace_back([&, t] {
        while (!done) {
          for (std::size_t i = t * 2; i < clients.size(); i += 8)
            clients[i].say(R"({"message":1})");
        }
      });
    }
    busy.emplace_back([&] {
      // A client in the middle of its upgrade gets a response or the end of the connection.
      while (!done) relay.knock("/push/7/");
    });
    EXPECT_TRUE(eventually([&] { return relay.stats().messages_undelivered > 1000; }));
    EXPECT_EQ(relay.stats().push_sockets >= 250, true);
    auto* const handle = relay.get();
    waystation_free(handle);
    freed = true;
    done = true;
    for (auto& thread : busy) thread.join();
    for (auto& client : clients) {
      while (client.read()) {
      }
    }
    int status = 0;
    relay.knock("/push/7/", "", nullptr, &status);
    EXPECT_EQ(status, 503);
    relay.forget();
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before + kKeptDescriptors; }))
      << open_descriptors() << " now, " << before << " before";
  EXPECT_EQ(late, 0);
}

/// The text between `before` and the next quotation mark; empty if `text` does not begin with
/// `before`.
std::string quoted_after(std::string_view before, const std::string& text) {
  if (!text.starts_with(before)) return {};
  return text.substr(before.size(), text.find('"', before.size()) - before.size());
}

/// Two users: one sends, and the class records which messages arrive.
class Conversation {
 public:
  Conversation(const Embedded& relay, int number)
      : name_(std::to_string(number)),
        receiver_(relay.open(path(), "user=x" + name_)),
        sender_(relay.open(path(), "user=" + name_, "waystation.v1")) {
    EXPECT_NE(sender_.hear().find("presence"), std::string::npos);
  }

  void say(std::size_t bytes) {
    const auto id = name_ + "-" + std::to_string(sent_++);
    sender_.say(R"({"message":[")" + id + R"(",")" + std::string(bytes, 'x') + R"("],"id":")" + id +
                "\"}");
  }
  /// Returns false if the socket has ended.
  bool receive_ack() {
    const auto heard = sender_.hear();
    const auto id = quoted_after(R"({"ack":{"id":")", heard);
    if (id.empty()) return false;
    EXPECT_NE(heard.find(R"("route":"chat")"), std::string::npos) << heard;
    acknowledged_.insert(id);
    return true;
  }
  bool receive() {
    const auto id = quoted_after(R"({"message":[")", receiver_.hear());
    if (!id.empty()) received_.insert(id);
    return !id.empty();
  }

  /// Sends several messages at once and receives them. Returns false if the connection ended.
  bool exchange_messages() {
    constexpr int kInFlight = 4;
    for (int i = 0; i < kInFlight; ++i) say(1);
    int done = 0;
    while (done < kInFlight && receive_ack() && receive()) ++done;
    return done == kInFlight;
  }

  /// Acknowledged messages that neither arrived nor were reported as dropped.
  std::set<std::string> lost(const std::set<std::string>& dropped) {
    while (receive()) {
    }
    std::set<std::string> lost;
    for (const auto& id : acknowledged_) {
      if (!received_.contains(id) && !dropped.contains(id)) lost.insert(id);
    }
    return lost;
  }

 private:
  std::string path() const { return "/ws/chat/" + name_ + "_x" + name_ + "/"; }

  std::string name_;
  WebSocketClient receiver_;
  WebSocketClient sender_;
  int sent_ = 0;
  std::set<std::string> acknowledged_, received_;
};

TEST_F(CallbacksTest, FreeDuring250ConversationsReportsEachUndeliveredMessage) {
  constexpr rlim_t kDescriptors = 1200;  // as above
  if (const auto limit = raise_descriptor_limit(); limit < kDescriptors) {
    GTEST_SKIP() << "a process here may open " << limit << " descriptors, and this takes "
                 << kDescriptors;
  }
  std::set<std::string> dropped;
  callbacks_.on_event = [&](const waystation_event& event) {
    if (event.outcome == WAYSTATION_DROPPED) dropped.insert(or_null(event.message_id));
  };
  options_.messages_per_second = 0;
  options_.max_queue_bytes = 64 << 20;
  Embedded relay(options_);
  std::vector<Conversation> all;
  for (int i = 0; i < 250; ++i) all.emplace_back(relay, i);
  // This socket is never read, so the kernel's buffer fills.
  while (relay.stats().queued_bytes < 1 << 20) {
    all[0].say(60'000);
    ASSERT_TRUE(all[0].receive_ack());
  }
  std::vector<std::thread> busy;
  for (std::size_t t = 1; t <= 4; ++t) {
    busy.emplace_back([&, t] {
      for (bool goes_on = true; goes_on;) {
        goes_on = false;
        for (std::size_t i = t; i < all.size(); i += 4)
          goes_on = all[i].exchange_messages() || goes_on;
      }
    });
  }
  const auto before = relay.stats().messages_chat;
  EXPECT_TRUE(eventually([&] { return relay.stats().messages_chat > before + 5000; }));
  relay.free();
  for (auto& thread : busy) thread.join();
  for (auto& conversation : all) {
    EXPECT_THAT(conversation.lost(dropped), testing::IsEmpty());
  }
  EXPECT_THAT(dropped, testing::Not(testing::IsEmpty()));
}

TEST_F(CallbacksTest, IdentifySetsUserAndExpiry) {
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  callbacks_.on_event = [](const waystation_event&) {};
  callbacks_.identify = [](const waystation_request& request, waystation_identity& identity) {
    EXPECT_EQ(identity.size, sizeof identity);
    if (request.query == nullptr) return 0;
    const std::string query(request.query);
    query.copy(identity.user, sizeof identity.user - 1);
    if (query == "brief") {
      identity.expires_at = std::chrono::duration_cast<std::chrono::milliseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count() +
                            500;
    }
    if (query == "ever") identity.expires_at = INT64_MAX;
    return 1;
  };
  Embedded relay(options_);
  int status = 0;
  relay.knock("/push/alice/", "", nullptr, &status);
  EXPECT_EQ(status, 401);
  relay.knock("/push/alice/", "bob", nullptr, &status);
  EXPECT_EQ(status, 403);
  auto brief = relay.open("/push/brief/", "brief");
  auto ever = relay.open("/push/ever/", "ever");
  EXPECT_EQ(brief.hear(), "(closed 4401)");
  relay.push("ever");
  EXPECT_NE(ever.hear().find("event"), std::string::npos);
}

TEST_F(CallbacksTest, FreeWaitsForARunningIdentify) {
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  std::promise<void> entered, release;
  std::atomic<bool> left = false;
  callbacks_.on_event = [](const waystation_event&) {};
  callbacks_.identify = [&](const waystation_request&, waystation_identity& identity) {
    entered.set_value();
    release.get_future().wait();
    std::string("alice").copy(identity.user, 5);
    left = true;
    return 1;
  };
  Embedded relay(options_);
  const auto id = relay.id();
  int status = 0;
  std::thread worker([&] { relay.knock("/push/alice/", "", nullptr, &status); });
  entered.get_future().wait();
  std::promise<void> freed;
  std::thread freeing([&] {
    waystation_free(relay.get());
    EXPECT_TRUE(left);
    freed.set_value();
  });
  // The relay can be looked up until it closes.
  EXPECT_TRUE(eventually([&] { return waystation_max_body_bytes(id) == 0; }));
  // A callback that does not wait has returned by then.
  EXPECT_EQ(freed.get_future().wait_for(std::chrono::milliseconds(100)),
            std::future_status::timeout);
  release.set_value();
  worker.join();
  freeing.join();
  EXPECT_EQ(status, 503);
  relay.forget();
}

TEST_F(CallbacksTest, AreNotChangedByReconfigure) {
  std::atomic<int> heard = 0;
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  callbacks_.on_event = [&](const waystation_event&) { ++heard; };
  callbacks_.identify = [](const waystation_request&, waystation_identity& identity) {
    std::string("alice").copy(identity.user, 5);
    return 1;
  };
  Embedded relay(options_);
  auto changed = default_options();
  changed.auth = WAYSTATION_AUTH_CALLBACK;
  waystation_error error = WAYSTATION_ERROR_INIT;
  ASSERT_EQ(waystation_reconfigure(relay.get(), &changed, &error), WAYSTATION_OK) << error.message;
  // Stays open: a socket that closes during the push would cause a second event.
  const auto alice = relay.open("/push/alice/");
  relay.push("alice");
  EXPECT_TRUE(eventually([&] { return heard == 1; }));
}

TEST_F(CallbacksTest, TokensAreAcceptedAfterReconfigure) {
  callbacks_.on_event = [](const waystation_event&) {};
  Embedded relay(options_);
  auto alice = relay.open("/ws/chat/alice_bob/", "user=alice", "waystation.v1");
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  alice.say(R"({"token":"a.b.c"})");
  EXPECT_NE(alice.hear().find("does not take tokens"), std::string::npos);

  const KeyFile keys;
  const auto path = keys.path();
  options_.auth = WAYSTATION_AUTH_JWT;
  options_.jwt_key_file = path.c_str();
  waystation_error error = WAYSTATION_ERROR_INIT;
  ASSERT_EQ(waystation_reconfigure(relay.get(), &options_, &error), WAYSTATION_OK) << error.message;
  alice.say(R"({"token":"a.b.c"})");
  const auto refused = alice.hear();
  EXPECT_NE(refused.find("bad_token"), std::string::npos);
  EXPECT_EQ(refused.find("does not take tokens"), std::string::npos) << refused;
}

TEST_F(CallbacksTest, BlockedCallbackDoesNotDelayTokens) {
  const KeyFile keys;
  const auto path = keys.path();
  options_.auth = WAYSTATION_AUTH_JWT;
  options_.jwt_key_file = path.c_str();
  const auto token = [&](std::uint32_t lifetime_seconds) {
    waystation_token_request request{};
    request.size = sizeof request;
    request.user = "alice";
    request.lifetime_seconds = lifetime_seconds;
    std::string text(8192, '\0');
    EXPECT_EQ(waystation_token_issue(&options_, &request, text.data(), text.size(), nullptr),
              WAYSTATION_OK);
    return text.substr(0, text.find('\0'));
  };
  std::promise<void> entered, release;
  std::atomic<bool> first = true;
  callbacks_.on_event = [&](const waystation_event&) {
    if (!first.exchange(false)) return;
    entered.set_value();
    release.get_future().wait();
  };
  Embedded relay(options_);
  relay.push("nobody");
  entered.get_future().wait();

  const auto brief = "waystation.v1, bearer." + token(6);
  auto alice = relay.open("/push/alice/", "", brief.c_str());
  auto forgetful = relay.open("/push/alice/", "", brief.c_str());
  alice.say(R"({"token":")" + token(3600) + "\"}");
  // The close shows that the old token has expired.
  EXPECT_EQ(forgetful.hear(), "(closed 4401)");
  std::uint64_t reached = 0;
  relay.push("alice", &reached);
  EXPECT_EQ(reached, 1U);
  EXPECT_NE(alice.hear().find(R"("message":1)"), std::string::npos);
  release.set_value();
}

std::string token_of(const std::string& key_file, const char* key_id = nullptr) {
  auto options = default_options();
  options.jwt_key_file = key_file.c_str();
  waystation_token_request request{};
  request.size = sizeof request;
  request.user = "alice";
  request.key_id = key_id;
  std::string text(8192, '\0');
  EXPECT_EQ(waystation_token_issue(&options, &request, text.data(), text.size(), nullptr),
            WAYSTATION_OK);
  return text.substr(0, text.find('\0'));
}

/// At level debug each refusal, error frame and close logs one line with the reason; at level info
/// none.
class DebugLogTest : public CallbacksTest {
 protected:
  DebugLogTest() {
    callbacks_.on_event = [](const waystation_event&) {};
    std::ofstream(other_) << "other:c3RyYW5nZSBzdHJhbmdlIHN0cmFuZ2Ugc3RyYW5nZSBzdHJhbmdl\n";
    std::filesystem::permissions(other_, std::filesystem::perms::owner_read);
  }
  ~DebugLogTest() override { std::filesystem::remove(other_); }

  /// The lines that start with `begin`.
  std::vector<std::string> lines(const std::string& begin) {
    const std::lock_guard lock(callbacks_.mutex);
    std::vector<std::string> found;
    for (const auto& line : callbacks_.lines) {
      if (line.starts_with(begin)) found.push_back(line);
    }
    return found;
  }

  /// Causes refusals, error frames and closes.
  void cause_refusals() {
    const auto path = keys_.path();
    options_.auth = WAYSTATION_AUTH_JWT;
    options_.jwt_key_file = path.c_str();
    Embedded relay(options_);
    forged_ = token_of(other_, "other");
    good_ = token_of(path);
    const auto entry = [](const std::string& token) { return "waystation.v1, bearer." + token; };
    relay.knock("/push/alice/", "", entry(forged_).c_str());
    relay.knock("/push/bob/", "", entry(good_).c_str());
    auto alice = relay.open("/ws/chat/alice_bob/", "", entry(good_).c_str());
    EXPECT_NE(alice.hear().find("presence"), std::string::npos);
    alice.say(R"({"message":"a secret","to_user":"mallory"})");
    EXPECT_NE(alice.hear().find("not_a_member"), std::string::npos);
    alice.say(R"({"token":")" + forged_ + "\"}");
    EXPECT_NE(alice.hear().find("bad_token"), std::string::npos);
    EXPECT_EQ(waystation_end_sessions(relay.get(), "alice", 20'000, nullptr), WAYSTATION_OK);
    EXPECT_EQ(alice.hear(), "(closed 4403)");
    relay.free();
  }

  const KeyFile keys_;
  const std::string other_ = testing::TempDir() + "waystation-other-" + std::to_string(getpid());
  std::string forged_, good_;
};

TEST_F(DebugLogTest, ExplainsEachRefusalErrorFrameAndClose) {
  options_.log_level = WAYSTATION_LOG_DEBUG;
  cause_refusals();
  EXPECT_THAT(
      lines("upgrade refused"),
      testing::ElementsAre(
          "upgrade refused with 401 unauthenticated: the token is not signed with a key that is "
          "accepted here; kid \"other\", alg \"HS256\", keys tried: without id (client 127.0.0.1)",
          "upgrade refused with 403 not_that_user: only the user in the path may open a push "
          "socket "
          "(client 127.0.0.1, user alice)"));
  EXPECT_THAT(
      lines("error frame"),
      testing::ElementsAre(testing::AllOf(testing::StartsWith("error frame not_a_member: "),
                                          testing::EndsWith(" (client 127.0.0.1, user alice)")),
                           testing::AllOf(testing::StartsWith("error frame bad_token: "),
                                          testing::HasSubstr("kid \"other\""),
                                          testing::EndsWith(" (client 127.0.0.1, user alice)"))));
  EXPECT_THAT(lines("socket closed"),
              testing::ElementsAre("socket closed with 4403 ended: an administrator ended the "
                                   "session (client 127.0.0.1, user alice)"));
  // The lines contain no part of a token or message.
  for (const auto& token : {forged_, good_}) {
    for (std::size_t at = 0; at + 8 <= token.size(); at += 8) {
      EXPECT_FALSE(callbacks_.logged(token.substr(at, 8)));
    }
  }
  EXPECT_FALSE(callbacks_.logged("secret"));
}

TEST_F(DebugLogTest, ShowsNoLinesThatTheNameOfACallerForges) {
  options_.log_level = WAYSTATION_LOG_DEBUG;
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  callbacks_.identify = [](const waystation_request&, waystation_identity& identity) {
    std::string("mallory)\nforged line").copy(identity.user, sizeof identity.user - 1);
    return 1;
  };
  Embedded relay(options_);
  const waystation_header host{"Host", "localhost"};
  waystation_request request{};
  request.size = sizeof request;
  request.method = "GET";
  request.target = "/api/v1/nodes";
  request.version = "1.1";
  request.headers = &host;
  request.header_count = 1;
  request.remote_address = "127.0.0.1";
  request.descriptor = -1;
  waystation_response response{};
  response.size = sizeof response;
  EXPECT_EQ(waystation_http(relay.id(), &request, &response), WAYSTATION_OK);
  EXPECT_EQ(response.status, 403);
  waystation_response_clear(&response);
  relay.free();
  EXPECT_THAT(lines("HTTP request refused"),
              testing::ElementsAre("HTTP request refused with 403 missing_scope: this needs the "
                                   "scope admin; the caller is \"mallory)?forged line\" (client "
                                   "127.0.0.1)"));
}

TEST_F(DebugLogTest, LogsNothingThatAClientCanCauseAtInfo) {
  cause_refusals();
  EXPECT_THAT(lines("upgrade"), testing::IsEmpty());
  EXPECT_THAT(lines("error frame"), testing::IsEmpty());
  EXPECT_THAT(lines("socket"), testing::IsEmpty());
}

/// Connections that say nothing, on a port of their own.
class SilentCrowd {
 public:
  SilentCrowd() {
    for (int i = 0; i < 6; ++i) {
      sockets_.push_back(connect_to({"127.0.0.1", listener_.port()}));
      sockets_.push_back(listener_.accept());
    }
  }

  /// Ends all slow connections of the crowd and of `port`, as if one worker served them all.
  [[nodiscard]] bool is_ended_with(std::uint32_t relay_id, std::uint16_t port) const {
    const std::uint16_t ports[] = {listener_.port(), port};
    return eventually([&] { return waystation_end_slow_connections(relay_id, ports, 2, 1) != 0; });
  }

 private:
  Listener listener_;
  std::vector<FileDescriptor> sockets_;
};

TEST_F(CallbacksTest, AConnectionIsNotEndedAsSlowWhileItsUpgradeIsServed) {
  const SilentCrowd crowd;
  std::optional<Embedded> relay;
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  callbacks_.on_event = [](const waystation_event&) {};
  callbacks_.identify = [&](const waystation_request& request, waystation_identity& identity) {
    std::string("alice").copy(identity.user, 5);
    EXPECT_TRUE(crowd.is_ended_with(relay->id(), request.local_port));
    return 1;
  };
  relay.emplace(options_);
  auto alice = relay->open("/push/alice/");
  std::uint64_t reached = 0;
  relay->push("alice", &reached);
  EXPECT_EQ(reached, 1U);
}

TEST(SlowBodies, AConnectionMayBeEndedWhileItsBodyIsAwaited) {
  struct Body {
    std::uint32_t relay_id;
    std::uint16_t port;
    SilentCrowd crowd;
  };
  const auto options = default_options();
  const Embedded relay(options);
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  Body body{relay.id(), listener.port(), {}};
  const waystation_header headers[] = {
      {"Host", "localhost"}, {"Content-Type", "application/json"}, {"Content-Length", "1"}};
  waystation_request request{};
  request.size = sizeof request;
  request.method = "POST";
  request.target = "/api/v1/push/bob";
  request.version = "1.1";
  request.headers = headers;
  request.header_count = std::size(headers);
  request.remote_address = "127.0.0.1";
  request.remote_port = Endpoint::local_of(client.get()).port();
  request.local_port = listener.port();
  request.descriptor = -1;
  request.body_source = &body;
  request.read_body = [](void* data, char* buffer, std::size_t) {
    const auto& source = *static_cast<const Body*>(data);
    EXPECT_TRUE(source.crowd.is_ended_with(source.relay_id, source.port));
    *buffer = '1';
    return 1;
  };
  waystation_response response{};
  response.size = sizeof response;
  EXPECT_EQ(waystation_http(relay.id(), &request, &response), WAYSTATION_OK);
  EXPECT_EQ(response.status, 200);
  waystation_response_clear(&response);
  EXPECT_TRUE(reads_eof(server.get()));
}

}  // namespace
}  // namespace waystation::test
