#include "reactor/reactor.hpp"

#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <atomic>
#include <charconv>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <thread>

#include "support/failing_calls.hpp"
#include "support/websocket_client.hpp"
#include "unit/reactor/reactor_setup.hpp"

namespace waystation::test {
namespace {

using test::close_frame;
using test::eventually;
using test::frame;
using test::Listener;
using test::WebSocketClient;

/// The state of one session, for the test's thread.
struct Record {
  std::atomic<int> descriptor = -1;
  std::atomic<int> opened = 0, ended = 0, heartbeats = 0;
  std::atomic<int> messages = 0;
  // When the first and the last of them were, by the reactor's clock.
  std::atomic<std::int64_t> first_heard_ms = 0, heard_ms = 0;
  std::atomic<int> taken = 0, refused = 0;  // what the session sent, or tried to
  std::atomic<int> refused_upgrades = 0;
  std::atomic<bool> permit_held = true;

  void lose(std::uint64_t offset) {
    const std::lock_guard lock(mutex);
    lost.push_back(offset);
  }
  std::vector<std::uint64_t> lost_offsets() {
    const std::lock_guard lock(mutex);
    return lost;
  }

  std::mutex mutex;
  std::vector<std::uint64_t> lost;
};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::string numbered(int number, std::size_t size) {
  auto text = std::to_string(number) + ":";
  text.resize(size, '.');
  return text;
}

/// Messages of all sessions.
std::atomic<int> all_messages = 0;

/// The sessions by name; the reactor's thread only.
using Names = std::map<std::string, Connection*, std::less<>>;

/// Echoes messages and runs commands.
class EchoSession final : public Session {
 public:
  EchoSession(Reactor& reactor, Connection& connection, std::string name, Names& names,
              std::shared_ptr<Record> record)
      : reactor_(reactor),
        connection_(connection),
        name_(std::move(name)),
        names_(names),
        record_(std::move(record)) {}

  void on_open() override {
    record_->descriptor = connection_.descriptor();
    if (name_ == "throws") throw std::bad_alloc();
    if (name_ == "unaccepted") {
      names_[name_] = &connection_;
      ++record_->opened;
      return;
    }
    names_[name_] = &connection_;
    connection_.accept();
    ++record_->opened;
    if (name_ == "greets") send(connection_, "hello");
  }

  std::string on_refused() override {
    ++record_->refused_upgrades;
    return std::string(kRefusal);
  }

  void on_message(Opcode opcode, std::string_view payload) override {
    record_->heard_ms = reactor_.now_ms();
    if (record_->messages == 0) record_->first_heard_ms = reactor_.now_ms();
    ++record_->messages;
    ++all_messages;
    const auto words = words_of(payload);
    if (words.empty() || !words[0].starts_with('/')) {
      connection_.send(opcode, {payload});
    } else if (words[0] == "/messages") {
      send(connection_, std::to_string(all_messages));
    } else if (words[0] == "/connections") {  // at the end of the last round
      send(connection_, std::to_string(reactor_.stats().connections));
    } else if (words[0] == "/close") {
      connection_.close(static_cast<CloseCode>(std::stoi(words[1])));
    } else if (words[0] == "/throw") {
      throw std::bad_alloc();
    } else if (words[0] == "/expire") {
      connection_.set_expiry(reactor_.now_ms() + std::stoi(words[1]));
    } else if (words[0] == "/pause") {
      connection_.pause_reading(1000LL * std::stoi(words[1]));
    } else if (words[0] == "/throttle") {  // echoes, and is throttled as by the router
      connection_.send(opcode, {payload});
      connection_.pause_reading(100);
    } else if (words[0] == "/never") {
      connection_.set_expiry(0);
    } else if (words[0] == "/send") {  // /send <name> <count> <size>
      const auto to = names_.find(words[1]);
      if (to == names_.end()) return;
      for (int i = 0; i < std::stoi(words[2]); ++i) {
        send(*to->second, numbered(i, std::stoul(words[3])));
      }
    }
  }

  void on_heartbeat() override { ++record_->heartbeats; }
  void on_end() noexcept override {
    ++record_->ended;
    names_.erase(name_);
    // The relay tells the others of the group.
    for (const auto& [name, other] : names_) {
      if (name.starts_with("watcher")) other->send(Opcode::text, {name_, " left"});
    }
  }
  void on_lost(std::uint64_t offset) noexcept override { record_->lose(offset); }

 private:
  void send(Connection& to, std::string_view text) {
    ++(to.send(Opcode::text, {text}) ? record_->taken : record_->refused);
  }

  Reactor& reactor_;
  Connection& connection_;
  std::string name_;
  Names& names_;
  std::shared_ptr<Record> record_;
};

struct Peer {
  WebSocketClient client;
  std::shared_ptr<Record> record;
};

class ReactorTest : public testing::Test {
 protected:
  static ReactorOptions options() { return without_pings(); }

  /// `server_buffer` and `client_buffer` 0: as large as the system likes.
  void start(const ReactorOptions& options, int server_buffer = 0) {
    listener_.emplace("127.0.0.1", false, server_buffer);
    reactor_.emplace(options);
  }

  Peer connect(std::string name = "peer", int client_buffer = 0) {
    auto record = std::make_shared<Record>();
    WebSocketClient client(
        test::connect_to({"127.0.0.1", listener_->port()}, nullptr, client_buffer));
    adopt(std::move(name), record);
    return {std::move(client), std::move(record)};
  }

  /// As open(), for a client of which `early` was read before.
  Peer open_late(std::string early) {
    auto record = std::make_shared<Record>();
    WebSocketClient client(test::connect_to({"127.0.0.1", listener_->port()}));
    EXPECT_TRUE(adopt("late", record, std::move(early)));
    EXPECT_EQ(client.read_head(), kResponse);
    return {std::move(client), std::move(record)};
  }

  Peer open(std::string name = "peer", int client_buffer = 0) {
    auto peer = connect(std::move(name), client_buffer);
    EXPECT_EQ(peer.client.read_head(), kResponse);
    return peer;
  }

  bool adopt(std::string name, const std::shared_ptr<Record>& record, std::string early = {}) {
    const auto server = listener_->accept();
    auto adopted = adopt_socket({server.get(), "", 0, 0});
    std::shared_ptr<void> permit(nullptr, [record](void*) { record->permit_held = false; });
    return reactor_->adopt(
        *adopted, std::string(kResponse), std::move(permit),
        [this, name = std::move(name), record](Connection& connection) -> std::unique_ptr<Session> {
          if (name == "unmakeable") throw std::bad_alloc();
          return std::make_unique<EchoSession>(*reactor_, connection, name, names_, record);
        },
        std::move(early));
  }

  /// Runs on the reactor's thread, and waits for it.
  template <typename F>
  void on_reactor(F&& f) {
    std::promise<void> done;
    ASSERT_TRUE(reactor_->post([&] {
      f();
      done.set_value();
    }));
    done.get_future().wait();
  }

  /// Its first message: it is not read for an hour from then on.
  static void pause(Peer& peer) {
    peer.client.say("/pause 3600000");
    ASSERT_TRUE(eventually([&] { return peer.record->messages == 1; }));
  }

  static void expect_served(Peer& peer) {
    for (int i = 0; i < 3; ++i) {
      peer.client.say("here");
      EXPECT_EQ(peer.client.hear(), "here");
    }
  }

  static void expect_ended(const Peer& peer) {
    EXPECT_TRUE(eventually([&] { return peer.record->ended == 1 && !peer.record->permit_held; }));
  }

  Names names_;
  std::optional<Listener> listener_;
  std::optional<Reactor> reactor_;
};

TEST_F(ReactorTest, AnswersAfterTheHandshake) {
  start(options());
  auto peer = open("greets");
  EXPECT_EQ(peer.client.hear(), "hello");
  peer.client.say("how are you");
  EXPECT_EQ(peer.client.hear(), "how are you");
  EXPECT_EQ(peer.record->opened, 1);
  EXPECT_EQ(reactor_->stats().connections, 1U);
}

TEST_F(ReactorTest, ReadsFramesSplitAnywhere) {
  start(options());
  auto peer = open();
  const auto bytes = frame(Opcode::text, "one") + frame(Opcode::text, "tw", {.fin = false}) +
                     frame(Opcode::ping, "between") + frame(Opcode::continuation, "o") +
                     frame(Opcode::text, "") +
                     frame(Opcode::text, std::string(70'000, 'x').substr(0, 60'000));
  for (const char byte : bytes.substr(0, 60)) peer.client.send({&byte, 1});
  peer.client.send(bytes.substr(60));
  EXPECT_EQ(peer.client.read()->payload, "one");
  const auto pong = peer.client.read();
  EXPECT_EQ(pong->opcode, Opcode::pong);
  EXPECT_EQ(pong->payload, "between");
  EXPECT_EQ(peer.client.read()->payload, "two");
  EXPECT_EQ(peer.client.read()->payload, "");
  EXPECT_EQ(peer.client.read()->payload, std::string(60'000, 'x'));
}

TEST_F(ReactorTest, HandlesEarlyBytesBeforeThoseThatItReads) {
  start(options());
  const auto second = frame(Opcode::text, "second");
  auto peer = open_late(frame(Opcode::text, "first") + second.substr(0, 4));
  EXPECT_EQ(peer.client.hear(), "first") << "without a byte from the socket";
  peer.client.send(second.substr(4));
  EXPECT_EQ(peer.client.hear(), "second");
  expect_served(peer);
}

TEST_F(ReactorTest, HandlesAsManyEarlyBytesAsAllowed) {
  start(options());
  std::string early;
  for (int i = 0; early.size() < 60'000; ++i) early += frame(Opcode::text, std::to_string(i));
  early += frame(Opcode::text, std::string(65'535 - early.size() - 8, 'x'));
  ASSERT_EQ(early.size(), 65'535U);
  auto peer = open_late(early);
  int next = 0;
  for (std::string heard; (heard = peer.client.hear()).front() != 'x'; ++next) {
    ASSERT_EQ(heard, std::to_string(next));
  }
  EXPECT_GT(next, 5000);
  expect_served(peer);
}

TEST_F(ReactorTest, EarlyBytesMayEndTheConnection) {
  start(options());
  auto violating = open_late("GET / HTTP/1.1\r\n");
  EXPECT_EQ(violating.client.hear(), "(closed 1002)");
  auto closing = open_late(frame(Opcode::text, "last words") + close_frame(1000));
  EXPECT_EQ(closing.client.hear(), "last words");
  EXPECT_EQ(closing.client.hear(), "(closed 1000)");
}

TEST_F(ReactorTest, AnswersEachPingOfAFloodWithItsPayload) {
  start(options());
  auto peer = open();
  std::string flood;
  for (int i = 0; i < 5000; ++i) flood += frame(Opcode::ping, std::to_string(i));
  std::thread sender([&] { peer.client.send(flood); });
  for (int i = 0; i < 5000; ++i) {
    const auto pong = peer.client.read();
    ASSERT_TRUE(pong);
    ASSERT_EQ(pong->opcode, Opcode::pong);
    ASSERT_EQ(pong->payload, std::to_string(i));
  }
  sender.join();
}

TEST_F(ReactorTest, AnswersACloseWithItsCodeAndEndsTheConnectionFirst) {
  start(options());
  for (const auto code :
       std::initializer_list<std::uint16_t>{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
                                            1012, 1013, 1014, 3000, 4408, 4999}) {
    auto peer = open();
    peer.client.send(close_frame(code, "bye"));
    const auto answer = peer.client.read();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->opcode, Opcode::close);
    EXPECT_EQ(answer->close_code(), code);
    // Section 7.1.1: the server is the first to end the TCP connection.
    EXPECT_TRUE(peer.client.is_at_end());
    EXPECT_FALSE(peer.client.is_reset());
    peer.client.vanish();
    expect_ended(peer);
  }
}

TEST_F(ReactorTest, AnswersACloseWithoutACode) {
  start(options());
  auto peer = open();
  peer.client.send(frame(Opcode::close, ""));
  const auto answer = peer.client.read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->opcode, Opcode::close);
  EXPECT_EQ(answer->payload, "");
  EXPECT_TRUE(peer.client.is_at_end());
}

TEST_F(ReactorTest, AnswersACloseFollowedByEndOfFile) {
  start(options());
  auto peer = open();
  peer.client.send(frame(Opcode::text, "last words") + close_frame(1000));
  peer.client.half_close();
  EXPECT_EQ(peer.client.hear(), "last words");
  EXPECT_EQ(peer.client.hear(), "(closed 1000)");
  EXPECT_TRUE(peer.client.is_at_end());
  EXPECT_FALSE(peer.client.is_reset());
  peer.client.vanish();
  expect_ended(peer);
}

TEST_F(ReactorTest, ClosesWithEveryServerCodeAndItsReason) {
  start(options());
  for (const auto code :
       std::initializer_list<std::uint16_t>{1000, 1001, 1008, 1011, 1013, 4401, 4403}) {
    auto peer = open();
    peer.client.say("before");
    peer.client.say("/close " + std::to_string(code));
    peer.client.say("passed over");
    EXPECT_EQ(peer.client.hear(), "before");
    const auto close = peer.client.read();
    ASSERT_TRUE(close);
    EXPECT_EQ(close->opcode, Opcode::close);
    EXPECT_EQ(close->close_code(), code);
    EXPECT_EQ(close->payload.substr(2), close_reason(static_cast<CloseCode>(code)));
    EXPECT_TRUE(eventually([&] { return peer.record->ended == 1; }));
    EXPECT_TRUE(peer.record->permit_held) << "until the peer has answered";
    peer.client.send(close_frame(code));
    EXPECT_TRUE(peer.client.is_at_end());
    peer.client.vanish();
    expect_ended(peer);
  }
}

TEST_F(ReactorTest, AProtocolViolationAfterOurCloseEndsItAtOnce) {
  start(options());
  auto peer = open();
  peer.client.say("/close 1000");
  EXPECT_EQ(peer.client.hear(), "(closed 1000)");
  peer.client.send(frame(Opcode::text, "unmasked", {.masked = false}));
  EXPECT_TRUE(peer.client.is_at_end());
}

struct Violation {
  const char* name;
  std::string bytes;
  std::uint16_t code;
};

TEST_F(ReactorTest, ClosesOnEachViolationWithItsCodeAndWithoutAReset) {
  auto limited = options();
  limited.frames.max_message_bytes = 1000;
  start(limited);
  constexpr auto kAlmost64 = ~std::uint64_t{0} - 8191;
  const std::string more(std::size_t{8} << 20, 'z');  // than the kernel keeps
  const Violation violations[] = {
      {"unmasked", frame(Opcode::text, "x", {.masked = false}), 1002},
      {"reserved bit", frame(Opcode::text, "x", {.reserved = 4}), 1002},
      {"reserved opcode", frame(static_cast<Opcode>(3), "x"), 1002},
      {"continuation of nothing", frame(Opcode::continuation, "x"), 1002},
      {"fragmented ping", frame(Opcode::ping, "x", {.fin = false}), 1002},
      {"code that is not to be sent", close_frame(1005), 1002},
      {"binary", frame(Opcode::binary, "x"), 1003},
      {"not UTF-8", frame(Opcode::text, "\xFF"), 1007},
      {"too long", frame(Opcode::text, std::string(1001, 'x')), 1009},
      {"2 GiB claimed", frame(Opcode::text, "x", {.claims = std::uint64_t{1} << 31}), 1009},
      {"8 KiB less than 2^64 claimed", frame(Opcode::text, "x", {.claims = kAlmost64}), 1002},
  };
  for (const auto& violation : violations) {
    SCOPED_TRACE(violation.name);
    auto peer = open();
    peer.client.say("before");
    // The rest is read and discarded. Otherwise a reset could destroy our Close.
    peer.client.send(violation.bytes + frame(Opcode::text, std::string(500, 'y')));
    EXPECT_EQ(peer.client.hear(), "before");
    EXPECT_EQ(peer.client.hear(), "(closed " + std::to_string(violation.code) + ")");
    EXPECT_TRUE(peer.client.send(more)) << "it is still read";
    EXPECT_TRUE(peer.client.is_at_end());
    EXPECT_FALSE(peer.client.is_reset());
    peer.client.vanish();
    expect_ended(peer);
  }
}

TEST_F(ReactorTest, AcceptsBinaryMessagesIfConfigured) {
  auto binary = options();
  binary.frames.accept_binary = true;
  start(binary);
  auto peer = open();
  peer.client.send(frame(Opcode::binary, std::string("\0\xFF", 2)));
  const auto echo = peer.client.read();
  ASSERT_TRUE(echo);
  EXPECT_EQ(echo->opcode, Opcode::binary);
  EXPECT_EQ(echo->payload, std::string("\0\xFF", 2));
}

TEST_F(ReactorTest, APeerThatKeepsTheConnectionOpenIsTerminated) {
  start(options());
  auto peer = open();
  peer.client.send(close_frame(1000));
  EXPECT_EQ(peer.client.hear(), "(closed 1000)");
  expect_ended(peer);  // while `peer` holds its end open
  EXPECT_TRUE(eventually([&] { return reactor_->stats().connections == 0; }));
}

TEST_F(ReactorTest, APeerThatDisconnectsEndsTheSession) {
  start(options());
  auto half = open();
  half.client.half_close();
  EXPECT_TRUE(half.client.is_at_end());
  expect_ended(half);
  auto gone = open();
  gone.client.vanish();
  expect_ended(gone);
  auto reset = open();
  reset.client.reset();
  expect_ended(reset);
  auto before = connect();
  before.client.reset();
  EXPECT_TRUE(eventually([&] { return !before.record->permit_held; }));
  EXPECT_TRUE(eventually([&] { return reactor_->stats().connections == 0; }));
}

TEST_F(ReactorTest, AnEndIsReportedToOthersInTheSameRound) {
  start(options());
  auto watcher = open("watcher");
  auto peer = open("alice");
  peer.client.say("/close 1000");
  EXPECT_EQ(watcher.client.hear(), "alice left");
  auto second = open("bob");
  second.client.reset();
  EXPECT_EQ(watcher.client.hear(), "bob left");
}

TEST_F(ReactorTest, TerminatesAPeerThatIsSilentForTwoPingIntervals) {
  auto brisk = options();
  brisk.ping_interval_seconds = 3;  // the time that the other peer has to answer
  start(brisk);
  auto silent = open("silent");
  auto alive = open("alive");
  std::thread answers([&] {
    for (int pings = 0; pings < 3;) {
      const auto next = alive.client.read();
      if (!next) return;
      if (next->opcode == Opcode::ping) {
        alive.client.send(frame(Opcode::pong, next->payload));
        ++pings;
      }
    }
  });
  expect_ended(silent);
  EXPECT_EQ(reactor_->stats().closed_dead, 1U);
  answers.join();
  EXPECT_EQ(alive.record->ended, 0);
  EXPECT_GE(alive.record->heartbeats, 3);
  alive.client.say("still here");
  EXPECT_EQ(alive.client.hear(), "still here");
  EXPECT_EQ(silent.client.read()->opcode, Opcode::ping);
}

TEST_F(ReactorTest, AnIncompleteMessageEndsIn1008) {
  auto brisk = options();
  brisk.ping_interval_seconds = 1;
  brisk.frames.max_message_bytes = 1 << 20;
  start(brisk);
  // Each peer keeps sending, so that none is dead: the message must end.
  struct Endless {
    const char* name;
    std::string begin, more;
    int pause_ms;
  };
  const Endless endless[] = {
      {"payload", frame(Opcode::text, "never", {.claims = 60'000}), "x", 20},
      {"fragments of nothing", frame(Opcode::text, "fragment", {.fin = false}),
       frame(Opcode::continuation, "", {.fin = false}) + frame(Opcode::pong, ""), 20},
      // In the middle of its length, which is to be 65793; and so slow that it stays there.
      {"header", {"\x81\xFF\0\0\0\0\0", 7}, "\x01", 300},
  };
  std::vector<Peer> peers;
  std::atomic<bool> done = false;
  std::vector<std::thread> drips;
  for (const auto& one : endless) peers.push_back(open(one.name));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    drips.emplace_back([&client = peers[i].client, &one = endless[i], &done] {
      client.send(one.begin);
      while (!done && client.send(one.more)) poll(nullptr, 0, one.pause_ms);
    });
  }
  for (std::size_t i = 0; i < peers.size(); ++i) {
    SCOPED_TRACE(endless[i].name);
    // Read, not heard: the answer to a ping would be the end of the frame.
    auto next = peers[i].client.read();
    for (int pings = 0; pings < 10 && next && next->opcode == Opcode::ping; ++pings) {
      next = peers[i].client.read();
    }
    EXPECT_TRUE(next && next->opcode == Opcode::close && next->close_code() == 1008);
  }
  done = true;
  for (auto& drip : drips) drip.join();
  for (auto& peer : peers) peer.client.vanish();
  for (auto& peer : peers) expect_ended(peer);
  EXPECT_EQ(reactor_->stats().closed_dead, 0U);
}

TEST_F(ReactorTest, AnExpiredTokenEndsIn4401) {
  start(options());
  auto peer = open();
  peer.client.say("/expire 1");
  EXPECT_EQ(peer.client.hear(), "(closed 4401)");
}

TEST_F(ReactorTest, AnExpiryCanBePostponedAndRemoved) {
  start(options());
  // Both of each are read at once, so that no time passes between them.
  const auto say_both = [](Peer& peer, std::string_view first, std::string_view second) {
    peer.client.send(frame(Opcode::text, first) + frame(Opcode::text, second));
  };
  auto later = open("later");
  say_both(later, "/expire 300", "/expire 3600000");
  auto never = open("never");
  say_both(never, "/expire 300", "/never");
  auto soon = open("soon");
  say_both(soon, "/expire 3600000", "/expire 600");
  EXPECT_EQ(soon.client.hear(), "(closed 4401)");
  later.client.say("still here");
  never.client.say("still here");
  EXPECT_EQ(later.client.hear(), "still here");
  EXPECT_EQ(never.client.hear(), "still here");
}

TEST_F(ReactorTest, ASlowReceiverIsClosedAtItsLimitAndTheBegunMessageIsCompleted) {
  constexpr std::size_t kSize = 10'000;
  auto tight = options();
  tight.queues = {64 * 1024, 1 << 24};
  start(tight, 8192);
  auto slow = open("slow", 4096);
  auto sender = open("sender");
  sender.client.say("/send slow 1000 " + std::to_string(kSize));
  EXPECT_TRUE(eventually([&] { return slow.record->ended == 1; }));
  EXPECT_EQ(reactor_->stats().closed_slow, 1U);
  EXPECT_TRUE(slow.record->permit_held);
  const int taken = sender.record->taken;
  EXPECT_EQ(taken + sender.record->refused, 1000);

  // Others are not affected.
  sender.client.say("hello");
  EXPECT_EQ(sender.client.hear(), "hello");

  // Whole frames in order, and then the Close: no gap, no partial frame.
  int received = 0;
  std::uint64_t end = kResponse.size();
  for (;;) {
    const auto next = slow.client.read();
    ASSERT_TRUE(next);
    if (next->opcode == Opcode::close) {
      EXPECT_EQ(next->close_code(), 4408);
      break;
    }
    ASSERT_EQ(next->payload, numbered(received, kSize));
    end = next->end_offset;
    ++received;
  }
  EXPECT_LT(received, taken);
  const auto lost = slow.record->lost_offsets();
  ASSERT_FALSE(lost.empty());
  EXPECT_EQ(lost.front(), end) << "exactly what came behind was told to be lost";
  slow.client.send(close_frame(4408));
  EXPECT_TRUE(slow.client.is_at_end());
  slow.client.vanish();
  expect_ended(slow);
  for (const auto offset : slow.record->lost_offsets()) EXPECT_GE(offset, end);
}

TEST_F(ReactorTest, ABurstBeyondTheLimitIsAcceptedIfTheKernelTakesIt) {
  auto tight = options();
  tight.queues = {20'000, 1 << 24};
  start(tight);
  auto receiver = open("receiver");
  auto sender = open("sender");
  sender.client.say("/send receiver 12 4000");
  for (int i = 0; i < 12; ++i) ASSERT_EQ(receiver.client.hear(), numbered(i, 4000));
  EXPECT_EQ(sender.record->refused, 0);
  EXPECT_EQ(reactor_->stats().closed_slow, 0U);
}

TEST_F(ReactorTest, OnlyTheLargestQueueOfTheTotalBudgetIsClosed) {
  auto tight = options();
  tight.queues = {300'000, 400'000};
  start(tight, 8192);
  auto hog = open("hog", 4096);
  auto modest = open("modest", 4096);
  auto sender = open("sender");
  // Both have stopped reading; one holds much more than the other.
  sender.client.say("/send hog 28 10000");
  sender.client.say("/send modest 5 10000");
  sender.client.say("sync");
  ASSERT_EQ(sender.client.hear(), "sync");
  EXPECT_EQ(sender.record->refused, 0);
  EXPECT_EQ(sender.record->ended + hog.record->ended + modest.record->ended, 0);

  sender.client.say("/send modest 10 10000");
  sender.client.say("sync");
  ASSERT_EQ(sender.client.hear(), "sync");
  EXPECT_EQ(sender.record->refused, 0);
  EXPECT_EQ(reactor_->stats().closed_slow, 1U);
  EXPECT_EQ(hog.record->ended, 1);
  EXPECT_EQ(modest.record->ended, 0);

  int received = 0;
  auto next = hog.client.hear();
  for (; next == numbered(received, 10'000); ++received) next = hog.client.hear();
  EXPECT_EQ(next, "(closed 4408)");
  EXPECT_LT(received, 28);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(modest.client.hear(), numbered(i, 10'000));
  for (int i = 0; i < 10; ++i) ASSERT_EQ(modest.client.hear(), numbered(i, 10'000));
}

/// Holds the reactor's thread until it is released.
class Hold {
 public:
  explicit Hold(Reactor& reactor) {
    reactor.post([promises = promises_] {
      promises->entered.set_value();
      promises->released.get_future().wait();
    });
    promises_->entered.get_future().wait();
  }
  ~Hold() { promises_->released.set_value(); }

 private:
  struct Promises {
    std::promise<void> entered, released;
  };
  // The reactor may come to its wait after the end of this.
  const std::shared_ptr<Promises> promises_ = std::make_shared<Promises>();
};

/// Returns when so many bytes from a peer wait to be read, or are all that its kernel takes.
void expect_waiting(const Peer& peer, int bytes) {
  EXPECT_TRUE(eventually([&] {
    int waiting = 0;
    return ioctl(peer.record->descriptor, FIONREAD, &waiting) == 0 && waiting >= bytes;
  }));
}

TEST_F(ReactorTest, AFloodOfSmallMessagesDoesNotDelayOthersUntilItsEnd) {
  start(options());
  auto flooder = open("flooder");
  auto other = open("other");
  const int before = all_messages;
  std::string flood;
  for (int i = 0; i < 30'000; ++i) flood += frame(Opcode::text, "");
  {
    // Both have written before either is read.
    const Hold hold(*reactor_);
    ASSERT_TRUE(flooder.client.send(flood));
    expect_waiting(flooder, 10'000);
    other.client.say("/messages");
    expect_waiting(other, 1);
  }
  EXPECT_LE(std::stoi(other.client.hear()) - before, 128 + 1);
  EXPECT_TRUE(eventually([&] { return flooder.record->messages == 30'000; }));
}

// As in a storm of connects: each new socket is a task.
TEST_F(ReactorTest, ManyTasksDoNotDelayMessagesUntilTheirEnd) {
  constexpr int kTasks = 1000;
  start(options());
  auto peer = open();
  std::atomic<int> ran = 0;
  int ran_before = kTasks;
  {
    const Hold hold(*reactor_);
    for (int i = 0; i < kTasks; ++i) {
      reactor_->post([&] {
        if (peer.record->messages == 0) ran_before = ran + 1;
        ++ran;
      });
    }
    peer.client.say("here");
    expect_waiting(peer, 1);
  }
  EXPECT_EQ(peer.client.hear(), "here");
  EXPECT_TRUE(eventually([&] { return ran == kTasks; })) << "without a further event";
  EXPECT_LE(ran_before, 100);
}

TEST_F(ReactorTest, ManyPeersThatEndDoNotDelayMessagesUntilTheLast) {
  constexpr int kLeaving = 400;
  start(options());
  std::vector<Peer> leaving;
  for (int i = 0; i < kLeaving; ++i) leaving.push_back(open("leaving" + std::to_string(i)));
  auto other = open("other");
  {
    const Hold hold(*reactor_);
    for (auto& peer : leaving) peer.client.half_close();
    other.client.say("/connections");
    expect_waiting(other, 1);
  }
  EXPECT_GT(std::stoi(other.client.hear()), kLeaving * 3 / 4);
  for (const auto& peer : leaving) expect_ended(peer);
  expect_served(other);
  other.client.say("/connections");
  EXPECT_EQ(other.client.hear(), "1");
}

TEST_F(ReactorTest, ManyPeersThatEndAreHeardToTheirEnd) {
  start(options());
  std::vector<Peer> leaving;
  for (int i = 0; i < 100; ++i) leaving.push_back(open("leaving" + std::to_string(i)));
  // More than one read takes, and more than one frame for a throttled socket.
  const std::string large(20'000, 'x');
  {
    const Hold hold(*reactor_);
    for (auto& peer : leaving) {
      for (const std::string_view text : {"one", "/throttle", large.c_str(), "last"}) {
        peer.client.say(text);
      }
      peer.client.half_close();
    }
  }
  for (auto& peer : leaving) {
    for (const std::string_view text : {"one", "/throttle", large.c_str(), "last", "(eof)"}) {
      ASSERT_EQ(peer.client.hear(), text);
    }
    expect_ended(peer);
  }
}

TEST_F(ReactorTest, ManyPeersThatAreResetWhilePausedAreEnded) {
  start(options());
  std::vector<Peer> paused;
  for (int i = 0; i < 100; ++i) {
    paused.push_back(open("paused" + std::to_string(i)));
    pause(paused.back());
  }
  {
    const Hold hold(*reactor_);
    for (auto& peer : paused) peer.client.reset();
  }
  for (const auto& peer : paused) expect_ended(peer);
}

// They are told of each other's end, and their sockets take no more.
TEST_F(ReactorTest, PeersThatHaveEndedAreSentToUntilTheirTurn) {
  start(options());
  std::vector<Peer> leaving;
  for (int i = 0; i < 100; ++i) leaving.push_back(open("watcher" + std::to_string(i)));
  auto other = open("other");
  {
    const Hold hold(*reactor_);
    for (auto& peer : leaving) peer.client.reset();
    other.client.say("/send watcher99 100 1000");
    expect_waiting(other, 1);
  }
  for (const auto& peer : leaving) expect_ended(peer);
  expect_served(other);
}

TEST_F(ReactorTest, EachThrottledSocketHasOneFrameHandledPerRound) {
  constexpr int kFlooders = 40;
  start(options());
  std::vector<Peer> flooders;
  for (int i = 0; i < kFlooders; ++i) flooders.push_back(open("flooder" + std::to_string(i)));
  auto other = open("other");
  const int before = all_messages;
  std::string flood;
  for (int i = 0; i < 600; ++i) flood += frame(Opcode::text, "/throttle");
  {
    const Hold hold(*reactor_);
    for (auto& flooder : flooders) {
      ASSERT_TRUE(flooder.client.send(flood));
      expect_waiting(flooder, static_cast<int>(flood.size()));
    }
    other.client.say("/messages");
    expect_waiting(other, 1);
  }
  // All of them are read in one round.
  EXPECT_LE(std::stoi(other.client.hear()) - before, kFlooders + 1);
  for (const auto& flooder : flooders) {
    EXPECT_TRUE(eventually([&] { return flooder.record->messages == 600; }));
  }
}

TEST_F(ReactorTest, AThrottledSocketIsHandledInOrderUpToItsClose) {
  start(options());
  auto peer = open();
  std::vector<std::string> messages;
  for (int i = 0; i < 200; ++i) messages.push_back(numbered(i, 8));
  for (int i = 0; i < 1500; ++i) messages.push_back("/throttle " + std::to_string(i));
  // One that lacks most of its bytes when what comes before it is throttled, and several behind.
  messages.push_back(std::string(60'000, 'x'));
  for (int i = 0; i < 200; ++i) messages.push_back("/throttle " + numbered(i, 10));
  std::string flood;
  for (const auto& message : messages) flood += frame(Opcode::text, message);
  flood += close_frame(1000);
  std::thread sender([&] { peer.client.send(flood); });
  for (const auto& message : messages) ASSERT_EQ(peer.client.hear(), message);
  EXPECT_EQ(peer.client.hear(), "(closed 1000)");
  sender.join();
  EXPECT_TRUE(peer.client.is_at_end());
  EXPECT_FALSE(peer.client.is_reset());
  peer.client.vanish();
  expect_ended(peer);
}

TEST_F(ReactorTest, ACloseAfterPausedFramesAnswersOurs) {
  start(options());
  auto peer = open("paused");
  std::string bytes = frame(Opcode::text, "/pause 3600000");
  for (int i = 0; i < 300; ++i) bytes += frame(Opcode::text, "not handled");
  ASSERT_TRUE(peer.client.send(bytes + close_frame(4403)));
  ASSERT_TRUE(eventually([&] { return peer.record->messages == 1; }));
  on_reactor([&] { names_.at("paused")->close(CloseCode::ended_by_administrator); });
  EXPECT_EQ(peer.client.hear(), "(closed 4403)");
  EXPECT_TRUE(peer.client.is_at_end());
  EXPECT_FALSE(peer.client.is_reset());
  EXPECT_EQ(peer.record->messages, 1);
  // The server ended its side first, and now waits for the peer's. Without its Close it would have
  // given up the whole connection.
  EXPECT_TRUE(peer.record->permit_held);
  peer.client.vanish();
  expect_ended(peer);
}

TEST_F(ReactorTest, AViolationAfterPausedFramesEndsTheConnection) {
  start(options());
  auto peer = open();
  ASSERT_TRUE(peer.client.send(frame(Opcode::text, "/pause 50") + frame(Opcode::text, "heard") +
                               frame(Opcode::text, "unmasked", {.masked = false}) +
                               frame(Opcode::text, "not handled")));
  EXPECT_EQ(peer.client.hear(), "heard");
  EXPECT_EQ(peer.client.hear(), "(closed 1002)");
  EXPECT_TRUE(peer.client.is_at_end());
  peer.client.vanish();
  expect_ended(peer);
  EXPECT_EQ(peer.record->messages, 2);
}

TEST_F(ReactorTest, ASocketThatEpollRefusesIsTerminated) {
  test::where_it_fails({SYS_epoll_ctl, ENOMEM, test::FailingCall::When::second_is, EPOLL_CTL_MOD},
                       [&] {
                         start(options());
                         auto other = open("other");
                         auto peer = open();
                         pause(peer);
                         // Not watched for its input, it could never end.
                         expect_ended(peer);
                         expect_served(other);
                         reactor_.reset();
                       });
}

TEST_F(ReactorTest, APausedSocketIsReadAfterThePause) {
  start(options());
  auto peer = open();
  // What was read together with the first waits for the end of its pause, and may make another.
  ASSERT_TRUE(peer.client.send(frame(Opcode::text, "/pause 200") +
                               frame(Opcode::text, "/pause 300") + frame(Opcode::text, "later")));
  EXPECT_EQ(peer.client.hear(), "later");
  EXPECT_GE(peer.record->heard_ms - peer.record->first_heard_ms, 500);
}

TEST_F(ReactorTest, APauseDoesNotAffectOthers) {
  start(options());
  auto peer = open();
  auto other = open("other");
  pause(peer);
  peer.client.say("not yet");
  expect_served(other);
  EXPECT_EQ(peer.record->messages, 1);
}

TEST_F(ReactorTest, APausedSocketIsWrittenTo) {
  start(options());
  auto peer = open("paused", 4096);
  auto other = open("other");
  pause(peer);
  // More than the kernel takes at once, so that epoll is asked for both.
  other.client.say("/send paused 50 10000");
  for (int i = 0; i < 50; ++i) ASSERT_EQ(peer.client.hear(), numbered(i, 10'000));
}

TEST_F(ReactorTest, AnEndOfFileDoesNotShortenAPause) {
  start(options());
  auto peer = open();
  auto other = open("other");
  pause(peer);
  peer.client.half_close();
  expect_served(other);
  EXPECT_EQ(peer.record->ended, 0);
}

TEST_F(ReactorTest, AnEndOfFileIsSeenAfterAllMessages) {
  start(options());
  auto peer = open();
  std::string flood;
  constexpr int kMessages = 2000;  // more than one reading's
  for (int i = 0; i < kMessages; ++i) flood += frame(Opcode::text, "/pause 0");
  flood += frame(Opcode::text, "/pause 1");
  ASSERT_TRUE(peer.client.send(flood));
  peer.client.half_close();
  expect_ended(peer);
  EXPECT_EQ(peer.record->messages, kMessages + 1);
}

TEST_F(ReactorTest, AResetEndsAPausedSocketAtOnce) {
  start(options());
  auto peer = open();
  pause(peer);
  peer.client.say("before the reset");
  peer.client.reset();
  expect_ended(peer);
  EXPECT_EQ(peer.record->messages, 1);
}

TEST_F(ReactorTest, APausedSocketThatIsClosedIsReadForThePeersClose) {
  start(options());
  auto peer = open("paused");
  pause(peer);
  on_reactor([&] { names_.at("paused")->close(CloseCode::ended_by_administrator); });
  EXPECT_EQ(peer.client.hear(), "(closed 4403)");
  peer.client.send(close_frame(4403));
  EXPECT_TRUE(peer.client.is_at_end());
  // As one would be that was closed with something unread.
  EXPECT_FALSE(peer.client.is_reset());
  expect_ended(peer);
}

TEST_F(ReactorTest, ReclaimEndsIfNoQueueCanBeShed) {
  auto tight = options();
  tight.queues = {300'000, 400'000};
  start(tight, 8192);
  auto sender = open("sender");
  const auto send = [&](const std::string& to, std::size_t size) {
    sender.client.say("/send " + to + " 1 " + std::to_string(size));
    sender.client.say("sync");
    ASSERT_EQ(sender.client.hear(), "sync");
  };
  std::vector<Peer> stalled;
  const auto rest_of = [&](std::size_t size) {
    const auto name = "stalled" + std::to_string(stalled.size());
    stalled.push_back(open(name, 4096));
    send(name, size);
    std::size_t rest = 0;
    on_reactor([&] { rest = names_.at(name)->backlog(); });
    return rest;
  };
  // All but two bytes of it are sent: the kernel takes the same number of bytes each time.
  constexpr std::size_t kProbe = 60'000;
  std::size_t size = kProbe - rest_of(kProbe) + 2;
  for (int i = 0; i < 10; ++i) {
    const auto rest = rest_of(size);
    if (rest == 2) break;
    size = size + 2 - rest;
  }
  std::size_t rest = 0;
  on_reactor([&] { rest = names_.at("stalled" + std::to_string(stalled.size() - 1))->backlog(); });
  ASSERT_EQ(rest, 2U);
  EXPECT_GT(rest_of(290'000), 200'000U);

  auto receiver = open("receiver");
  send("receiver", 250'000);  // for which there is no memory
  EXPECT_EQ(receiver.client.hear(), "(closed 4408)");
}

TEST_F(ReactorTest, TheLargestQueueIsShedForItsOwnMessageToo) {
  auto tight = options();
  tight.queues = {300'000, 300'000};
  start(tight, 8192);
  auto hog = open("hog", 4096);
  auto modest = open("modest", 4096);
  auto sender = open("sender");
  sender.client.say("/send modest 10 10000");
  sender.client.say("/send hog 1000 10000");
  sender.client.say("sync");
  ASSERT_EQ(sender.client.hear(), "sync");
  EXPECT_EQ(hog.record->ended, 1);
  EXPECT_EQ(modest.record->ended, 0);
  EXPECT_EQ(reactor_->stats().closed_slow, 1U);
  for (int i = 0; i < 10; ++i) ASSERT_EQ(modest.client.hear(), numbered(i, 10'000));
}

TEST_F(ReactorTest, AQueueBeyondItsOwnLimitDoesNotShedOthers) {
  auto tight = options();
  tight.queues = {300'000, 500'000};
  start(tight, 8192);
  auto hog = open("hog", 4096);
  auto slow = open("slow", 4096);
  auto sender = open("sender");
  sender.client.say("/send hog 28 10000");
  sender.client.say("/send slow 20 10000");
  // More than the budget of all queues, and than one queue may hold: to shed others would not help.
  sender.client.say("/send slow 1 200000");
  sender.client.say("sync");
  ASSERT_EQ(sender.client.hear(), "sync");
  EXPECT_EQ(sender.record->refused, 1);
  EXPECT_EQ(slow.record->ended, 1);
  EXPECT_EQ(reactor_->stats().closed_slow, 1U);
  EXPECT_EQ(hog.record->ended, 0);
  for (int i = 0; i < 28; ++i) ASSERT_EQ(hog.client.hear(), numbered(i, 10'000));
}

TEST_F(ReactorTest, AClosingPeerThatDoesNotReadIsShedForOthers) {
  auto tight = options();
  tight.queues = {300'000, 300'000};
  start(tight, 8192);
  auto ending = open("ending", 4096);
  auto modest = open("modest", 4096);
  auto sender = open("sender");
  sender.client.say("/send ending 28 10000");
  ending.client.say("/close 1000");
  ASSERT_TRUE(eventually([&] { return ending.record->ended == 1; }));
  EXPECT_TRUE(ending.record->permit_held);
  sender.client.say("/send modest 10 10000");
  for (int i = 0; i < 10; ++i) ASSERT_EQ(modest.client.hear(), numbered(i, 10'000));
  EXPECT_EQ(modest.record->ended, 0);
  EXPECT_FALSE(ending.record->permit_held);
}

TEST_F(ReactorTest, AConnectionShedDuringItsOwnEndIsDestroyed) {
  auto tight = options();
  tight.queues = {300'000, 300'000};
  start(tight, 8192);
  auto ending = open("ending", 4096);
  auto watcher = open("watcher");
  auto sender = open("sender");
  auto silent = open("silent");
  sender.client.say("/send ending 28 10000");
  sender.client.say("sync");
  ASSERT_EQ(sender.client.hear(), "sync");
  on_reactor([&] {
    const auto all = names_.at("ending")->backlog();
    tight.queues = {all, all};
    reactor_->apply(tight);
  });
  ending.client.say("/close 1000");
  EXPECT_EQ(watcher.client.hear(), "ending left");
  expect_ended(ending);
  // It has no deadline left, which would come before that of one that does not answer its Close.
  silent.client.say("/close 1000");
  expect_ended(silent);
  EXPECT_EQ(watcher.client.hear(), "silent left");
  watcher.client.say("still here");
  EXPECT_EQ(watcher.client.hear(), "still here");
}

TEST_F(ReactorTest, ReportsExactlyTheUnacknowledgedBytesAsLost) {
  constexpr std::size_t kSize = 1000;
  constexpr std::size_t kCount = 100;
  start(options(), 512 * 1024);
  auto peer = open("peer", 4096);
  auto sender = open("sender");
  sender.client.say("/send peer " + std::to_string(kCount) + " " + std::to_string(kSize));
  const auto total = kResponse.size() + kCount * (kSize + 4);
  int waiting = 0;
  int unacknowledged = 0;
  ASSERT_TRUE(eventually([&] {
    return ioctl(peer.client.get(), FIONREAD, &waiting) == 0 &&
           ioctl(peer.record->descriptor, SIOCOUTQ, &unacknowledged) == 0 && waiting > 0 &&
           unacknowledged > 0 &&
           peer.client.taken() + static_cast<std::size_t>(waiting + unacknowledged) == total;
  }));
  const auto arrived = peer.client.taken() + static_cast<std::size_t>(waiting);
  peer.client.reset();
  expect_ended(peer);
  EXPECT_EQ(peer.record->lost_offsets(), std::vector{arrived});
}

TEST_F(ReactorTest, AcknowledgedMessagesAreNotReportedAsLost) {
  start(options());
  auto peer = open();
  auto sender = open("sender");
  sender.client.say("/send peer 10 1000");
  for (int i = 0; i < 10; ++i) ASSERT_EQ(peer.client.hear(), numbered(i, 1000));
  const auto received = peer.client.taken();
  peer.client.send(close_frame(1000));
  EXPECT_EQ(peer.client.hear(), "(closed 1000)");
  peer.client.vanish();
  expect_ended(peer);
  for (const auto offset : peer.record->lost_offsets()) EXPECT_GE(offset, received);
}

TEST_F(ReactorTest, DrainSendsGoingAwayAndReturnsWhenAllHaveAnswered) {
  start(options());
  std::vector<Peer> peers;
  for (int i = 0; i < 10; ++i) peers.push_back(open("peer" + std::to_string(i)));
  std::vector<std::thread> answers;
  for (auto& peer : peers) {
    answers.emplace_back([&] {
      EXPECT_EQ(peer.client.hear(), "(closed 1001)");
      peer.client.send(close_frame(1001));
      EXPECT_TRUE(peer.client.is_at_end());
      peer.client.vanish();
    });
  }
  reactor_->drain(600'000);
  for (auto& thread : answers) thread.join();
  for (auto& peer : peers) expect_ended(peer);
  EXPECT_EQ(reactor_->stats().connections, 0U);
  reactor_->drain(600'000);  // again, without connections
}

TEST_F(ReactorTest, DrainTerminatesPeersThatDoNotAnswer) {
  start(options());
  auto peer = open();
  reactor_->drain(50);
  // A busy machine may have let it return before the reactor drained; the close timeout is longer.
  EXPECT_TRUE(
      eventually([&] { return reactor_->stats().connections == 0; }, std::chrono::seconds(5)));
  expect_ended(peer);
  EXPECT_EQ(peer.client.hear(), "(closed 1001)");
}

TEST_F(ReactorTest, DrainReturnsIfTheReactorIsBusy) {
  start(options());
  auto peer = open();
  std::promise<void> release;
  ASSERT_TRUE(reactor_->post([held = release.get_future().share()] { held.wait(); }));
  auto drained = std::async(std::launch::async, [&] { reactor_->drain(0); });
  EXPECT_EQ(drained.wait_for(test::kPatience), std::future_status::ready);
  // The request is kept: the reactor drains as soon as it can.
  release.set_value();
  drained.wait();
  expect_ended(peer);
  EXPECT_EQ(peer.client.hear(), "(closed 1001)");
}

TEST_F(ReactorTest, ASecondDrainMayShortenTheFirst) {
  start(options());
  auto peer = open();
  std::thread patient([&] { reactor_->drain(3'600'000); });
  EXPECT_EQ(peer.client.hear(), "(closed 1001)");
  reactor_->drain(0);
  patient.join();
  expect_ended(peer);
}

TEST_F(ReactorTest, NewSocketsAreReturnedDuringADrain) {
  start(options());
  auto peer = open();
  std::thread drain([&] { reactor_->drain(3'600'000); });
  EXPECT_EQ(peer.client.hear(), "(closed 1001)");

  WebSocketClient late(test::connect_to({"127.0.0.1", listener_->port()}));
  const auto server = listener_->accept();
  auto adopted = adopt_socket({server.get(), "", 0, 0});
  auto& socket = *adopted;
  EXPECT_FALSE(reactor_->adopt(socket, std::string(kResponse), nullptr,
                               [](Connection&) -> std::unique_ptr<Session> { return nullptr; }));
  ASSERT_GE(socket.get(), 0);
  test::send_all(socket.get(), "HTTP/1.1 503 Service Unavailable\r\n\r\n");
  EXPECT_EQ(late.read_head(), "HTTP/1.1 503 Service Unavailable\r\n\r\n");

  peer.client.send(close_frame(1001));
  peer.client.vanish();
  drain.join();
}

TEST_F(ReactorTest, ASocketAdmittedJustBeforeADrainIsClosedToo) {
  start(options());
  std::promise<void> go;
  // The reactor is held up, so that the socket is still on its way when the drain begins.
  reactor_->post([held = go.get_future().share()] { held.wait(); });
  auto peer = connect();
  std::thread drain([&] { reactor_->drain(3'600'000); });
  go.set_value();
  EXPECT_EQ(peer.client.read_head(), kResponse);
  EXPECT_EQ(peer.client.hear(), "(closed 1001)");
  peer.client.send(close_frame(1001));
  peer.client.vanish();
  drain.join();
  expect_ended(peer);
}

TEST_F(ReactorTest, StopTerminatesAllAndRunsNothingAfterwards) {
  start(options());
  auto peer = open();
  reactor_->stop();
  EXPECT_EQ(peer.record->ended, 1);
  EXPECT_FALSE(peer.record->permit_held);
  EXPECT_EQ(peer.client.hear(), "(eof)");
  EXPECT_FALSE(reactor_->post([] { FAIL(); }));
  auto record = std::make_shared<Record>();
  WebSocketClient late(test::connect_to({"127.0.0.1", listener_->port()}));
  EXPECT_FALSE(adopt("late", record));
  EXPECT_FALSE(record->permit_held);
  EXPECT_EQ(late.read_head(), "");
  reactor_->drain(1000);
  reactor_->stop();
}

TEST_F(ReactorTest, StopDoesNotReadPendingInput) {
  start(options());
  std::vector<Peer> peers;
  for (int i = 0; i < 10; ++i) peers.push_back(open("peer" + std::to_string(i)));
  std::promise<void> entered, release;
  reactor_->post([&] {
    entered.set_value();
    release.get_future().wait();
  });
  entered.get_future().wait();
  for (auto& peer : peers) peer.client.say("too late");
  std::thread stopping([&] { reactor_->stop(); });
  EXPECT_TRUE(eventually([&] { return !reactor_->post([] {}); }));
  release.set_value();
  stopping.join();
  for (const auto& peer : peers) {
    EXPECT_EQ(peer.record->messages, 0);
    EXPECT_EQ(peer.record->ended, 1);
  }
}

TEST_F(ReactorTest, StopEndsADrain) {
  start(options());
  auto peer = open();
  std::thread drain([&] { reactor_->drain(3'600'000); });
  EXPECT_EQ(peer.client.hear(), "(closed 1001)");
  reactor_->stop();
  drain.join();
}

TEST_F(ReactorTest, RunsTasksPostedBeforeTheStop) {
  start(options());
  int ran = 0;
  for (int i = 0; i < 100; ++i) reactor_->post([&] { ++ran; });
  reactor_->stop();
  EXPECT_EQ(ran, 100);
}

TEST_F(ReactorTest, ClosesEveryDescriptor) {
  const auto before = test::open_descriptors();
  {
    start(options());
    std::vector<Peer> peers;
    for (int i = 0; i < 50; ++i) peers.push_back(open("peer" + std::to_string(i)));
    for (std::size_t i = 0; i < 20; ++i) peers[i].client.vanish();
    reactor_.reset();
    listener_.reset();
  }
  EXPECT_LE(test::open_descriptors(), before + test::kKeptDescriptors);
}

TEST_F(ReactorTest, NewLimitsApplyAtOnce) {
  start(options());
  auto peer = open();
  peer.client.say(std::string(2000, 'x'));
  EXPECT_EQ(peer.client.hear(), std::string(2000, 'x'));
  auto stricter = options();
  stricter.frames.max_message_bytes = 1000;
  on_reactor([&] { reactor_->apply(stricter); });
  peer.client.say(std::string(2000, 'x'));
  EXPECT_EQ(peer.client.hear(), "(closed 1009)");
}

TEST_F(ReactorTest, AShorterPingIntervalAppliesAtOnce) {
  start(options());
  auto peer = open();
  auto brisk = options();
  brisk.ping_interval_seconds = 1;
  on_reactor([&] { reactor_->apply(brisk); });
  const auto ping = peer.client.read();
  ASSERT_TRUE(ping);
  EXPECT_EQ(ping->opcode, Opcode::ping);
  peer.client.send(frame(Opcode::pong, ""));
  peer.client.say("alive");
  EXPECT_EQ(peer.client.hear(), "alive");
  EXPECT_EQ(reactor_->stats().closed_dead, 0U);
}

TEST_F(ReactorTest, AnExceptionEndsItsOwnConnectionWith1011) {
  start(options());
  auto other = open("other");
  auto peer = open();
  peer.client.say("/throw");
  EXPECT_EQ(peer.client.hear(), "(closed 1011)");
  EXPECT_TRUE(peer.client.is_at_end());
  peer.client.vanish();
  expect_ended(peer);

  auto at_opening = connect("throws");
  EXPECT_EQ(at_opening.client.read_head(), kRefusal) << "in place of the 101";
  at_opening.client.vanish();
  EXPECT_TRUE(eventually([&] { return !at_opening.record->permit_held; }));
  EXPECT_EQ(at_opening.record->ended, 0) << "it had not begun";

  auto unmakeable = connect("unmakeable");
  EXPECT_EQ(unmakeable.client.read_head(), "");
  EXPECT_TRUE(eventually([&] { return !unmakeable.record->permit_held; }));

  ASSERT_TRUE(reactor_->post([] { throw std::bad_alloc(); }));
  other.client.say("still here");
  EXPECT_EQ(other.client.hear(), "still here");
}

// ---- a session that accepts later

TEST_F(ReactorTest, NothingIsSentOrReadBeforeTheSessionAccepts) {
  start(options());
  auto record = std::make_shared<Record>();
  WebSocketClient client(test::connect_to({"127.0.0.1", listener_->port()}));
  ASSERT_TRUE(adopt("unaccepted", record, frame(Opcode::text, "early")));
  client.send(frame(Opcode::text, "on the socket"));
  ASSERT_TRUE(eventually([&] { return record->opened == 1; }));
  on_reactor([&] { EXPECT_EQ(record->messages, 0); });
  std::int32_t arrived = 0;
  EXPECT_EQ(ioctl(client.get(), FIONREAD, &arrived), 0);
  EXPECT_EQ(arrived, 0);

  on_reactor([&] { names_.at("unaccepted")->accept(); });
  EXPECT_EQ(client.read_head(), kResponse);
  EXPECT_EQ(client.hear(), "early");
  EXPECT_EQ(client.hear(), "on the socket");
  client.say("still here");
  EXPECT_EQ(client.hear(), "still here");
}

TEST_F(ReactorTest, AnUpgradeThatIsNotAcceptedInTimeIsRefused) {
  start(options());
  auto peer = connect("unaccepted");
  peer.client.send(frame(Opcode::text, "never heard"));
  EXPECT_EQ(peer.client.read_head(), kRefusal);
  EXPECT_TRUE(peer.client.is_at_end());
  EXPECT_TRUE(eventually([&] { return peer.record->ended == 1; }));
  EXPECT_EQ(peer.record->messages, 0);
  peer.client.vanish();
  EXPECT_TRUE(eventually([&] { return !peer.record->permit_held; }));
}

TEST_F(ReactorTest, AClientMayGoBeforeTheSessionAccepts) {
  start(options());
  auto peer = connect("unaccepted");
  ASSERT_TRUE(eventually([&] { return peer.record->opened == 1; }));
  peer.client.reset();
  EXPECT_TRUE(eventually([&] { return !peer.record->permit_held; }));
  EXPECT_EQ(peer.record->ended, 1);
  EXPECT_EQ(peer.record->refused_upgrades, 0);
}

TEST_F(ReactorTest, ADrainRefusesWhatIsNotAccepted) {
  start(options());
  auto peer = connect("unaccepted");
  ASSERT_TRUE(eventually([&] { return peer.record->opened == 1; }));
  std::thread drain([&] { reactor_->drain(20'000); });
  EXPECT_EQ(peer.client.read_head(), kRefusal);
  peer.client.vanish();
  drain.join();
  EXPECT_EQ(peer.record->ended, 1);
}

TEST_F(ReactorTest, AnUpgradeThatIsNotAcceptedIsNotShedForOthers) {
  auto tight = options();
  tight.queues = {300'000, 300'000};
  start(tight);
  auto upgrading = connect("unaccepted");
  ASSERT_TRUE(eventually([&] { return upgrading.record->opened == 1; }));
  auto sender = open("sender");
  auto receiver = open("receiver");
  // With its header as much as all queues may hold, which hold the 101 already.
  sender.client.say("/send receiver 1 299990");
  EXPECT_EQ(receiver.client.hear(), "(closed 4408)");
  ASSERT_EQ(upgrading.record->ended, 0);
  on_reactor([&] { names_.at("unaccepted")->accept(); });
  EXPECT_EQ(upgrading.client.read_head(), kResponse);
}

TEST_F(ReactorTest, BusyPollingChangesNoResult) {
  auto spinning = options();
  spinning.busy_poll_microseconds = 200;
  start(spinning);
  auto peer = open();
  for (int i = 0; i < 100; ++i) {
    peer.client.say(std::to_string(i));
    ASSERT_EQ(peer.client.hear(), std::to_string(i));
  }
}

}  // namespace
}  // namespace waystation::test
