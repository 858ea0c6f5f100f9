#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "handover/door.hpp"
#include "unit/api/embedder.hpp"
#include "unit/handover/asker.hpp"
#include "unit/handover/messages.hpp"

namespace waystation::test {
namespace {

using testing::HasSubstr;
using Fields = std::vector<std::pair<std::string, std::string>>;

/// An ASK for an upgrade from this machine.
AskMessage upgrade_of(std::string target) {
  AskMessage ask;
  ask.address = "127.0.0.1";
  ask.target = std::move(target);
  ask.fields = {{"Host", "localhost"},
                {"Connection", "Upgrade"},
                {"Upgrade", "websocket"},
                {"Sec-WebSocket-Version", "13"},
                {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  return ask;
}

const std::string kGive = number(1, 1) + number(2, 1) + number(0, 2);

/// A host application with one door. Each test sets what it needs of the callbacks.
class HandoverTest : public testing::Test {
 protected:
  HandoverTest() {
    options_.user_data = this;
    options_.log_level = WAYSTATION_LOG_DEBUG;
    options_.identify = [](void* self, const waystation_request* request,
                           waystation_identity* identity) {
      return static_cast<HandoverTest*>(self)->identify_(*request, *identity);
    };
    options_.on_log = [](void* self, waystation_log_level level, const char* line) {
      auto& test = *static_cast<HandoverTest*>(self);
      const std::lock_guard lock(test.mutex_);
      test.lines_.emplace_back(level, line);
    };
  }

  void start() {
    relay_.emplace(options_);
    waystation_error error = WAYSTATION_ERROR_INIT;
    ASSERT_EQ(waystation_handover_listen(relay_->get(), socket_.get(), &error), WAYSTATION_OK)
        << error.message;
  }

  /// The answer to an ASK.
  std::string answer(const AskMessage& ask) {
    const auto asker = socket_.connect();
    send_message(asker, ask.bytes());
    return receive_message(asker);
  }

  /// A client whose connection is given with HERE.
  WebSocketClient open(const AskMessage& ask, std::uint64_t flags = 0, std::string early = {}) {
    const auto asker = socket_.connect();
    send_message(asker, ask.bytes());
    EXPECT_EQ(receive_message(asker), kGive);
    if ((flags & 1U) != 0) {
      SocketPair pair;
      send_message(asker, here_message(early, flags), {pair.other.get()});
      return WebSocketClient(std::move(pair.own));
    }
    WebSocketClient client(connect_to({"127.0.0.1", listener_.port()}));
    const auto server = listener_.accept();
    send_message(asker, here_message(early, flags), {server.get()});
    return client;
  }

  /// Whether an asker that got GIVE is ended when it gives `descriptor`.
  void give_wrong(int descriptor, std::uint64_t flags = 0) {
    const auto asker = socket_.connect();
    send_message(asker, upgrade_of("/push/bob/").bytes());
    ASSERT_EQ(receive_message(asker), kGive);
    send_message(asker, here_message({}, flags), {descriptor});
    EXPECT_EQ(receive_message(asker), "end");
  }

  std::uint64_t count(const std::string& result) const {
    std::map<std::string, std::uint64_t> counts;
    waystation_counter_read(
        relay_->get(), WAYSTATION_COUNTER_HANDOVERS,
        [](void* into, const char* value, std::uint64_t number) {
          (*static_cast<std::map<std::string, std::uint64_t>*>(into))[value] = number;
          return 1;
        },
        &counts);
    return counts.at(result);
  }

  std::vector<std::string> lines(waystation_log_level level, std::string_view part) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> found;
    for (const auto& [own_level, line] : lines_) {
      if (own_level == level && line.find(part) != std::string::npos) found.push_back(line);
    }
    return found;
  }

  std::function<int(const waystation_request&, waystation_identity&)> identify_;
  waystation_options options_ = default_options();
  DoorSocket socket_;
  Listener listener_;
  std::mutex mutex_;
  std::vector<std::pair<waystation_log_level, std::string>> lines_;
  std::optional<Embedded> relay_;  // the last: it logs until it is freed
};

TEST_F(HandoverTest, NeedsASocketThatListens) {
  start();
  const DoorSocket stream(SOCK_STREAM);
  const SocketPair pair;
  const FileDescriptor idle(socket(AF_UNIX, SOCK_SEQPACKET, 0));
  for (const int wrong : {-1, stream.get(), pair.own.get(), idle.get(), STDERR_FILENO}) {
    waystation_error error = WAYSTATION_ERROR_INIT;
    EXPECT_EQ(waystation_handover_listen(relay_->get(), wrong, &error), WAYSTATION_INVALID);
    EXPECT_THAT(error.message, HasSubstr("SOCK_SEQPACKET"));
  }
  EXPECT_EQ(waystation_handover_listen(nullptr, socket_.get(), nullptr), WAYSTATION_INVALID);
}

TEST_F(HandoverTest, AGivenSocketIsJoinedBeforeItsClientGetsThe101) {
  start();
  auto bob = open(upgrade_of("/push/bob/"));
  EXPECT_THAT(bob.read_head(), testing::StartsWith("HTTP/1.1 101 "));
  std::uint64_t reached = 0;
  relay_->push("bob", &reached);
  EXPECT_EQ(reached, 1U);
  EXPECT_THAT(bob.hear(), HasSubstr("event"));
  EXPECT_EQ(relay_->stats().upgrades_accepted, 1U);
  EXPECT_TRUE(eventually([&] { return count("handed") == 1; }));
  EXPECT_EQ(count("pumped") + count("refused") + count("unavailable"), 0U);
}

TEST_F(HandoverTest, EarlyBytesAreTheClientsFirst) {
  start();
  auto bob = open(upgrade_of("/push/bob/"));
  (void)bob.read_head();
  auto ask = upgrade_of("/ws/chat/alice_bob/?user=alice");
  const auto first = frame(Opcode::text, R"({"message":"early","to_user":"bob"})");
  auto alice = open(ask, 0, first.substr(0, 10));
  (void)alice.read_head();
  alice.send(first.substr(10));
  EXPECT_THAT(bob.hear(), HasSubstr("early"));
}

TEST_F(HandoverTest, APumpedSocketIsCountedOnItsOwn) {
  start();
  auto ask = upgrade_of("/push/bob/");
  ask.flags = 1;  // TLS
  auto bob = open(ask, 1);
  EXPECT_THAT(bob.read_head(), testing::StartsWith("HTTP/1.1 101 "));
  relay_->push("bob");
  EXPECT_THAT(bob.hear(), HasSubstr("event"));
  EXPECT_TRUE(eventually([&] { return count("pumped") == 1; }));
  EXPECT_EQ(count("handed"), 0U);
}

TEST_F(HandoverTest, RefusalsAreTheRelaysOwn) {
  start();
  EXPECT_THAT(answer(upgrade_of("/ws/chat/bob_alice/")), HasSubstr("bad_group"));
  EXPECT_THAT(answer(upgrade_of("/elsewhere")), HasSubstr("not_found"));
  auto with_user = upgrade_of("/push/bob/");
  with_user.user = "bob";
  EXPECT_THAT(answer(with_user), HasSubstr("identity_not_accepted"));
  auto plain = upgrade_of("/push/bob/");
  plain.fields.resize(1);
  const auto probe = answer(plain);
  EXPECT_THAT(probe, HasSubstr("upgrade_required"));
  EXPECT_EQ(probe.substr(2, 2), number(426, 2));
  auto preflight = upgrade_of("/push/bob/");
  preflight.method = "OPTIONS";
  preflight.fields = {{"Host", "localhost"},
                      {"Origin", "http://localhost"},
                      {"Access-Control-Request-Method", "GET"}};
  const auto allowed = answer(preflight);
  EXPECT_EQ(allowed.substr(2, 4), number(204, 2) + number(0, 2)) << "a response, no refusal";
  EXPECT_TRUE(eventually([&] { return count("refused") == 5; }));
  EXPECT_EQ(relay_->stats().upgrades_refused, 4U);
  EXPECT_TRUE(
      eventually([&] { return lines(WAYSTATION_LOG_DEBUG, "upgrade refused with").size() == 4; }));
  EXPECT_EQ(lines(WAYSTATION_LOG_WARNING, "").size(), 0U);
}

TEST_F(HandoverTest, AMalformedAskIsRefusedAndLoggedOnceAMinute) {
  start();
  auto ask = upgrade_of("/push/bob/");
  ask.version = 7;
  for (int i = 0; i < 3; ++i) {
    const auto refusal = answer(ask);
    EXPECT_THAT(refusal, HasSubstr("bad_handover"));
    EXPECT_EQ(refusal.substr(2, 2), number(502, 2));
    EXPECT_THAT(refusal, testing::Not(HasSubstr("version")));
  }
  EXPECT_TRUE(eventually([&] { return lines(WAYSTATION_LOG_DEBUG, "version").size() == 3; }));
  EXPECT_EQ(lines(WAYSTATION_LOG_WARNING, "version").size(), 1U);
}

TEST_F(HandoverTest, UnusableDescriptorsAreClosedAndCounted) {
  start();
  const SocketPair datagrams = [] {
    SocketPair pair;
    std::array<int, 2> fds{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    pair.own = FileDescriptor(fds[0]);
    pair.other = FileDescriptor(fds[1]);
    return pair;
  }();
  std::array<int, 2> pipe{};
  ASSERT_EQ(pipe2(pipe.data(), O_CLOEXEC), 0);
  const FileDescriptor reading(pipe[0]);
  FileDescriptor writing(pipe[1]);
  give_wrong(writing.get());
  give_wrong(datagrams.own.get());
  give_wrong(socket_.get());
  const auto client = connect_to({"127.0.0.1", listener_.port()});
  const auto server = listener_.accept();
  give_wrong(server.get(), 1);  // TCP, and yet pumped
  const FileDescriptor unconnected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  give_wrong(unconnected.get());
  EXPECT_TRUE(eventually([&] { return count("unavailable") == 5; }));
  EXPECT_EQ(relay_->stats().upgrades_accepted, 0U);
  writing.reset();
  char byte = 0;
  EXPECT_EQ(::read(reading.get(), &byte, 1), 0) << "the relay closed its copy";
}

TEST_F(HandoverTest, APlaceIsTakenUntilTheAskerEnds) {
  options_.max_connections = 1;
  start();
  {
    const auto asker = socket_.connect();
    send_message(asker, upgrade_of("/push/bob/").bytes());
    ASSERT_EQ(receive_message(asker), kGive);
    EXPECT_THAT(answer(upgrade_of("/push/bob/")), HasSubstr("\"full\""));
  }
  EXPECT_TRUE(eventually([&] { return answer(upgrade_of("/push/bob/")) == kGive; }));
}

TEST_F(HandoverTest, ARelayThatDrainsRefuses) {
  start();
  const auto asker = socket_.connect();
  send_message(asker, upgrade_of("/push/bob/").bytes());
  ASSERT_EQ(receive_message(asker), kGive);
  waystation_drain(relay_->get(), 0);
  EXPECT_THAT(answer(upgrade_of("/push/bob/")), HasSubstr("stopping"));
  // The client whose asker was told GIVE before gets the answer on its own socket.
  WebSocketClient client(connect_to({"127.0.0.1", listener_.port()}));
  {
    const auto server = listener_.accept();
    send_message(asker, here_message(), {server.get()});
  }
  EXPECT_THAT(client.read_head(), testing::StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(eventually([&] { return count("unavailable") == 1; }));
}

TEST_F(HandoverTest, AGivenSocketLeavesTheReserve) {
  options_.descriptor_reserve = UINT32_MAX;
  start();
  auto client = open(upgrade_of("/push/bob/"));
  EXPECT_THAT(client.read_head(), testing::StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(eventually([&] { return count("unavailable") == 1; }));
}

TEST_F(HandoverTest, ASocketThatLingeredDoesNotHoldUpOthersWhenItCloses) {
  // Longer than any deadline below.
  const linger former{1, 10'000};
  ASSERT_EQ(setsockopt(listener_.get(), SOL_SOCKET, SO_LINGER, &former, sizeof former), 0);
  start();
  const auto asker = socket_.connect();
  send_message(asker, upgrade_of("/push/slow/").bytes());
  ASSERT_EQ(receive_message(asker), kGive);
  WebSocketClient slow(connect_to({"127.0.0.1", listener_.port()}, nullptr, 4096));
  {
    const auto server = listener_.accept();
    send_message(asker, here_message(), {server.get()});
  }
  EXPECT_THAT(slow.read_head(), testing::StartsWith("HTTP/1.1 101 "));
  const auto open_before = open_descriptors();
  // The client reads nothing of this, so that the kernel still has most of it when the socket
  // closes.
  const auto text = '"' + std::string(60'000, 'x') + '"';
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(waystation_push(relay_->get(), "slow", text.c_str(), text.size(), 20'000, nullptr),
              WAYSTATION_OK);
  }
  slow.half_close();
  ASSERT_TRUE(eventually([&] { return open_descriptors() < open_before; })) << "not closed";
  EXPECT_EQ(waystation_presence(relay_->get(), "bob", 20'000, nullptr), WAYSTATION_OK);
}

TEST_F(HandoverTest, IdentifyGetsTheRequestOnAThreadOfItsOwn) {
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  std::atomic<int> calls = 0;
  identify_ = [&](const waystation_request& request, waystation_identity& identity) {
    ++calls;
    EXPECT_EQ(request.size, sizeof request);
    EXPECT_STREQ(request.method, "GET");
    EXPECT_STREQ(request.target, "/push/bob/?x=1");
    EXPECT_STREQ(request.version, "1.1");
    EXPECT_STREQ(request.remote_address, "127.0.0.1");
    EXPECT_EQ(request.remote_port, 50'000);
    EXPECT_EQ(request.header_count, 5U);
    EXPECT_STREQ(request.headers[4].name, "Sec-WebSocket-Key");
    EXPECT_STREQ(request.headers[4].value, "dGhlIHNhbXBsZSBub25jZQ==");
    EXPECT_EQ(request.connection, nullptr);
    EXPECT_EQ(request.descriptor, -1);
    // The reactor serves others meanwhile.
    EXPECT_EQ(waystation_presence(relay_->get(), "bob", 20'000, nullptr), WAYSTATION_OK);
    std::string("bob").copy(identity.user, 3);
    return 1;
  };
  start();
  auto bob = open(upgrade_of("/push/bob/?x=1"));
  EXPECT_THAT(bob.read_head(), testing::StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(calls, 1);
}

TEST_F(HandoverTest, FreeWaitsForTheRunningIdentifyAndEndsAskers) {
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  std::promise<void> entered, release;
  identify_ = [&](const waystation_request&, waystation_identity&) {
    entered.set_value();
    release.get_future().wait();
    return 0;
  };
  start();
  const auto id = relay_->id();
  const auto asker = socket_.connect();
  send_message(asker, upgrade_of("/push/bob/").bytes());
  entered.get_future().wait();
  std::atomic<bool> is_freed = false;
  std::thread freeing([&] {
    relay_->free();
    is_freed = true;
  });
  EXPECT_TRUE(eventually([&] { return waystation_max_body_bytes(id) == 0; }));
  EXPECT_FALSE(is_freed);
  release.set_value();
  freeing.join();
  EXPECT_EQ(receive_message(asker), "end");
}

/// Its `identify` waits for the client "first" until the test releases it, and admits everyone as
/// "bob". The test's thread alone starts and ends askers.
class BusyHandoverTest : public HandoverTest {
 protected:
  static constexpr std::size_t kMany = 3 * Door::kMaxAskers;

  BusyHandoverTest() {
    options_.auth = WAYSTATION_AUTH_CALLBACK;
    identify_ = [this](const waystation_request& request, waystation_identity& identity) {
      const std::string_view target = request.target;
      {
        const std::lock_guard lock(mutex_);
        identified_.emplace_back(target);
        handed_then_.push_back(count("handed"));
      }
      if (target == "/push/bob/?first") {
        entered_.set_value();
        release_.get_future().wait();
      }
      std::string("bob").copy(identity.user, 3);
      return 1;
    };
  }

  FileDescriptor ask(const std::string& target) {
    auto asker = socket_.connect();
    send_message(asker, upgrade_of(target).bytes());
    return asker;
  }

  /// An asker whose decision keeps the thread busy.
  FileDescriptor start_first() {
    auto asker = ask("/push/bob/?first");
    entered_.get_future().wait();
    return asker;
  }

  /// Clients that ask and leave before their decision.
  void leave() {
    for (std::size_t i = 0; i < kMany; ++i) (void)ask("/push/bob/?left");
    ASSERT_TRUE(eventually([&] { return count("unavailable") == kMany; }));
  }

  /// A client whose socket waits to be taken by the busy thread.
  WebSocketClient arrive(const FileDescriptor& given) {
    WebSocketClient client(connect_to({"127.0.0.1", listener_.port()}));
    const auto server = listener_.accept();
    send_message(given, here_message(), {server.get()});
    EXPECT_EQ(receive_message(given), "end") << "the relay has the socket";
    return client;
  }

  FileDescriptor given(const std::string& target) {
    auto asker = ask(target);
    EXPECT_EQ(receive_message(asker), kGive);
    return asker;
  }

  std::promise<void> entered_, release_;
  std::vector<std::string> identified_;     // in order
  std::vector<std::uint64_t> handed_then_;  // clients taken when each was identified
};

TEST_F(BusyHandoverTest, ClientsThatLeaveAreNotIdentifiedAndTakeNobodysTurn) {
  start();
  const auto first = start_first();
  leave();
  const auto last = ask("/push/bob/?last");
  release_.set_value();
  EXPECT_EQ(receive_message(first), kGive);
  EXPECT_EQ(receive_message(last), kGive);
  const std::lock_guard lock(mutex_);
  EXPECT_THAT(identified_, testing::ElementsAre("/push/bob/?first", "/push/bob/?last"));
}

TEST_F(BusyHandoverTest, AdmittedClientsAreTakenBeforeOthersAreIdentified) {
  start();
  const auto admitted = given("/push/bob/?admitted");
  const auto first = start_first();
  leave();
  const auto next = ask("/push/bob/?next");
  auto client = arrive(admitted);
  release_.set_value();
  EXPECT_THAT(client.read_head(), testing::StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(receive_message(next), kGive);
  const std::lock_guard lock(mutex_);
  ASSERT_EQ(identified_.back(), "/push/bob/?next");
  EXPECT_EQ(handed_then_.back(), 1U);
}

TEST_F(BusyHandoverTest, AClientThatWaitsToBeTakenWhenTheRelayStopsGetsTheRefusal) {
  start();
  const auto admitted = given("/push/bob/?admitted");
  const auto first = start_first();
  auto client = arrive(admitted);
  std::thread freeing([&] { relay_->free(); });
  EXPECT_EQ(receive_message(first), "end") << "the doors are closed";
  release_.set_value();
  EXPECT_THAT(client.read_head(), testing::StartsWith("HTTP/1.1 503 "));
  freeing.join();
  EXPECT_EQ(lines(WAYSTATION_LOG_DEBUG, "no connection was taken: the relay stops").size(), 1U);
}

TEST_F(HandoverTest, TheRelayUsesADuplicateAndEndsItWithItself) {
  start();
  {
    const DoorSocket second;
    ASSERT_EQ(waystation_handover_listen(relay_->get(), second.get(), nullptr), WAYSTATION_OK);
  }
  EXPECT_EQ(answer(upgrade_of("/push/bob/")), kGive) << "of the first door";
  const auto before = open_descriptors();
  relay_->free();
  EXPECT_LT(open_descriptors(), before);
}

}  // namespace
}  // namespace waystation::test
