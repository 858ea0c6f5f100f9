#include "reactor/stream.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "reactor/reactor.hpp"
#include "support/websocket_client.hpp"
#include "unit/reactor/reactor_setup.hpp"

namespace waystation::test {
namespace {

using test::close_frame;
using test::eventually;
using test::frame;
using test::Listener;
using test::WebSocketClient;
using Status = Stream::Status;

struct Ends {
  FileDescriptor client;
  AdoptedSocket server;
};

Ends connected(const Listener& listener, int client_buffer = 0) {
  Ends ends;
  ends.client = test::connect_to({"127.0.0.1", listener.port()}, nullptr, client_buffer);
  auto accepted = listener.accept();
  auto adopted = AdoptedSocket::from(accepted, 0);
  ends.server = std::move(*adopted);
  return ends;
}

std::string read_text(std::span<const char> buffer, Stream::Result result) {
  return {buffer.data(), result.bytes};
}

TEST(PlainStream, ReadsTheBytesThatAreThereAndThenTheEnd) {
  const Listener listener;
  auto [client, server] = connected(listener);
  PlainStream stream(std::move(server));
  std::array<char, 16> buffer{};
  auto result = stream.read(buffer);
  EXPECT_EQ(result.status, Status::want_read);
  EXPECT_EQ(result.bytes, 0U);
  ASSERT_TRUE(test::send_all(client.get(), "hello"));
  ASSERT_TRUE(eventually([&] { return (result = stream.read(buffer)).bytes != 0; }));
  EXPECT_EQ(result.status, Status::ok);
  EXPECT_EQ(read_text(buffer, result), "hello");
  EXPECT_FALSE(result.has_pending);
  client.reset();
  ASSERT_TRUE(eventually([&] { return stream.read(buffer).status != Status::want_read; }));
  EXPECT_EQ(stream.read(buffer).status, Status::ended);
}

TEST(PlainStream, IsBrokenByAReset) {
  const Listener listener;
  auto [client, server] = connected(listener);
  PlainStream stream(std::move(server));
  test::reset_on_close(client.get());
  client.reset();
  std::array<char, 16> buffer{};
  Stream::Result result;
  ASSERT_TRUE(
      eventually([&] { return (result = stream.read(buffer)).status != Status::want_read; }));
  EXPECT_EQ(result.status, Status::broken);
  EXPECT_EQ(stream.write(std::string(10, 'x')).status, Status::broken);
}

/// A UnixStream and the peer's end.
struct UnixEnds {
  FileDescriptor peer;
  std::unique_ptr<PlainStream> stream;
};

UnixEnds unix_pair() {
  std::array<int, 2> fds{};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  FileDescriptor own(fds[0]);
  auto adopted = AdoptedSocket::from(own, 0);
  UnixEnds ends{FileDescriptor(fds[1]), make_plain_stream(adopted->get())};
  ends.stream->swap(*adopted);
  return ends;
}

TEST(UnixStream, CountsAllBytesAsUnacknowledgedUntilThePeerHasReadThem) {
  const auto [peer, stream] = unix_pair();
  EXPECT_EQ(stream->unacknowledged_bytes(), 0U);
  EXPECT_EQ(stream->write(std::string(100, 'x')).bytes, 100U);
  EXPECT_EQ(stream->write(std::string(50, 'x')).bytes, 50U);
  EXPECT_EQ(stream->unacknowledged_bytes(), 150U) << "bytes, not memory";
  EXPECT_EQ(test::receive_exactly(peer.get(), 149).size(), 149U);
  EXPECT_EQ(stream->unacknowledged_bytes(), 150U);
  EXPECT_EQ(test::receive_exactly(peer.get(), 1).size(), 1U);
  EXPECT_EQ(stream->unacknowledged_bytes(), 0U);
  // The first bytes were read before the next were written, although nobody asked meanwhile.
  EXPECT_EQ(stream->write(std::string("abc")).bytes, 3U);
  EXPECT_EQ(test::receive_exactly(peer.get(), 3), "abc");
  EXPECT_EQ(stream->write(std::string("de")).bytes, 2U);
  EXPECT_EQ(stream->unacknowledged_bytes(), 2U);
}

TEST(UnixStream, CountsNoMoreThanTheMemoryOfTheBufferForAPeerThatLags) {
  auto [peer, stream] = unix_pair();
  const std::string message(100, 'x');
  EXPECT_EQ(stream->write(message).bytes, message.size());
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(stream->write(message).bytes, message.size());
    EXPECT_EQ(test::receive_exactly(peer.get(), message.size()).size(), message.size());
    int memory = 0;
    ASSERT_EQ(ioctl(stream->descriptor(), SIOCOUTQ, &memory), 0);
    ASSERT_GE(stream->unacknowledged_bytes(), message.size());
    ASSERT_LE(stream->unacknowledged_bytes(), static_cast<std::uint64_t>(memory)) << i;
  }
  const auto before = stream->unacknowledged_bytes();
  peer.reset();
  EXPECT_EQ(stream->unacknowledged_bytes(), before) << "it left the last message unread";
}

TEST(UnixStream, CountsBytesThatThePeerLeftUnreadAtItsEnd) {
  std::array<char, 16> buffer{};
  for (const std::string_view first : {"ask", "read", "write"}) {
    auto [peer, stream] = unix_pair();
    EXPECT_EQ(stream->write(std::string(10, 'x')).bytes, 10U);
    EXPECT_EQ(test::receive_exactly(peer.get(), 4).size(), 4U);
    peer.reset();
    if (first == "read") {
      EXPECT_EQ(stream->read(buffer).status, Status::broken);
      EXPECT_EQ(stream->read(buffer).status, Status::ended);
    } else if (first == "write") {
      EXPECT_EQ(stream->write(std::string("y")).status, Status::broken);
    }
    EXPECT_EQ(stream->unacknowledged_bytes(), 10U) << first;
    EXPECT_EQ(stream->unacknowledged_bytes(), 10U) << first << ", asked again";
  }
}

TEST(UnixStream, CountsNothingAfterThePeerReadAllAndEnded) {
  std::array<char, 16> buffer{};
  auto [peer, stream] = unix_pair();
  EXPECT_EQ(stream->write(std::string(10, 'x')).bytes, 10U);
  EXPECT_EQ(test::receive_exactly(peer.get(), 10).size(), 10U);
  peer.reset();
  EXPECT_EQ(stream->read(buffer).status, Status::ended);
  EXPECT_EQ(stream->unacknowledged_bytes(), 0U);
}

TEST(PlainStream, TakesWhatTheKernelTakesAndTellsWhatIsNotAcknowledged) {
  const Listener listener("127.0.0.1", false, 8192);
  auto [client, server] = connected(listener, 4096);
  PlainStream stream(std::move(server));
  EXPECT_EQ(stream.unacknowledged_bytes(), 0U);
  EXPECT_EQ(stream.write({}).status, Status::ok);
  const std::string bytes(1 << 20, 'x');
  std::size_t taken = 0;
  Stream::Result result;
  do {
    result = stream.write(std::string_view(bytes).substr(taken));
    taken += result.bytes;
  } while (result.status == Status::ok);
  EXPECT_EQ(result.status, Status::want_write);
  EXPECT_GT(taken, 0U);
  EXPECT_LT(taken, bytes.size());
  EXPECT_GT(stream.unacknowledged_bytes(), 0U);
  EXPECT_LE(stream.unacknowledged_bytes(), taken);
  EXPECT_EQ(test::receive_exactly(client.get(), taken).size(), taken);
  EXPECT_TRUE(eventually([&] { return stream.unacknowledged_bytes() == 0; }));
  EXPECT_EQ(stream.shutdown().status, Status::ok);
  EXPECT_TRUE(test::reads_eof(client.get()));
}

/// What a test makes a LayeredStream do, and sees of it. Shared with the reactor's thread.
struct Script {
  std::atomic<std::size_t> bytes_per_read = std::size_t{1} << 20;
  std::atomic<std::size_t> bytes_per_write = std::size_t{1} << 20;
  std::atomic<int> reads_that_want_write = 0;    // the next so many
  std::atomic<bool> fills_the_kernel = false;    // before each of those
  std::atomic<int> writes_that_want_read = 0;    // the next so many
  std::atomic<int> shutdowns_that_want = 0;      // the next so many
  std::atomic<std::size_t> held_bytes = 0;       // taken, and not given to the kernel
  std::atomic<std::size_t> most_held_bytes = 0;  // it keeps so many back
  std::atomic<int> reads = 0, writes = 0, flushes = 0, shutdowns = 0;
};

/// A stream that reads more from its socket than it hands on, as one with TLS does, and holds bytes
/// back that it took.
class LayeredStream final : public Stream {
 public:
  LayeredStream(AdoptedSocket socket, std::shared_ptr<Script> script)
      : plain_(std::move(socket)), script_(std::move(script)) {}

  int descriptor() const noexcept override { return plain_.descriptor(); }

  Result read(std::span<char> buffer) noexcept override {
    ++script_->reads;
    if (decrypted_.empty()) {
      const auto result = plain_.read(received_);
      if (result.bytes == 0) return result;
      decrypted_.assign(received_.data(), result.bytes);
    }
    // From here on the descriptor is not readable any more.
    if (script_->reads_that_want_write > 0) {
      --script_->reads_that_want_write;
      const std::string filler(65536, 'x');
      while (script_->fills_the_kernel && plain_.write(filler).status == Status::ok) {
      }
      return {0, Status::want_write, !decrypted_.empty()};
    }
    const auto size = std::min({decrypted_.size(), buffer.size(), script_->bytes_per_read.load()});
    std::copy_n(decrypted_.data(), size, buffer.data());
    decrypted_.erase(0, size);
    return {size, Status::ok, !decrypted_.empty()};
  }

  Result write(std::span<const char> bytes) noexcept override {
    if (script_->writes_that_want_read > 0) {
      --script_->writes_that_want_read;
      return {0, Status::want_read};
    }
    ++(bytes.empty() ? script_->flushes : script_->writes);
    const auto size = std::min(bytes.size(), script_->bytes_per_write.load());
    held_.append(bytes.data(), size);
    Result result{size, Status::ok};
    if (held_.size() > script_->most_held_bytes) {
      const auto out = held_.size() - script_->most_held_bytes;
      const auto sent = plain_.write(std::span<const char>(held_).first(out));
      held_.erase(0, sent.bytes);
      if (sent.status == Status::broken) return {size, Status::broken};
      if (sent.status != Status::ok) result.status = Status::want_write;
    }
    if (!held_.empty()) result.status = Status::want_write;
    script_->held_bytes = held_.size();
    return result;
  }

  Result shutdown() noexcept override {
    ++script_->shutdowns;
    if (script_->shutdowns_that_want > 0) {
      --script_->shutdowns_that_want;
      return {0, Status::want_write};
    }
    return plain_.shutdown();
  }

  std::uint64_t unacknowledged_bytes() const noexcept override {
    return plain_.unacknowledged_bytes() + held_.size();
  }

 private:
  PlainStream plain_;
  std::shared_ptr<Script> script_;
  std::vector<char> received_ = std::vector<char>(65536);
  std::string decrypted_, held_;
};

/// Echoes; notes offsets for the test's thread.
struct Record {
  std::atomic<int> messages = 0, ended = 0;
  std::atomic<std::uint64_t> queued = 0, acknowledged = 0;
  std::mutex mutex;
  std::vector<std::uint64_t> lost;
};

class Echo final : public Session {
 public:
  Echo(Connection& connection, std::shared_ptr<Record> record)
      : connection_(connection), record_(std::move(record)) {}
  void on_open() override { connection_.accept(); }
  std::string on_refused() override { return {}; }
  void on_message(Opcode opcode, std::string_view payload) override {
    ++record_->messages;
    if (payload == "pause") return connection_.pause_reading(20'000);
    connection_.send(opcode, {payload});
    record_->queued = connection_.queued_offset();
    record_->acknowledged = connection_.acknowledged_offset();
  }
  void on_heartbeat() override {}
  void on_end() noexcept override { ++record_->ended; }
  void on_lost(std::uint64_t offset) noexcept override {
    const std::lock_guard lock(record_->mutex);
    record_->lost.push_back(offset);
  }

 private:
  Connection& connection_;
  std::shared_ptr<Record> record_;
};

class ConnectionOfStreamTest : public testing::Test {
 protected:
  static ReactorOptions options() { return without_pings(); }

  WebSocketClient open() {
    auto ends = connected(listener_);
    std::unique_ptr<Stream> stream =
        std::make_unique<LayeredStream>(std::move(ends.server), script_);
    EXPECT_TRUE(reactor_.adopt(stream, std::string(kResponse), nullptr,
                               [this](Connection& connection) -> std::unique_ptr<Session> {
                                 return std::make_unique<Echo>(connection, record_);
                               }));
    EXPECT_EQ(stream, nullptr);
    WebSocketClient client(std::move(ends.client));
    EXPECT_EQ(client.read_head(), kResponse);
    return client;
  }

  /// Sends all at once, so that one read of the socket takes it, and expects every echo.
  static void expect_echoes(WebSocketClient& client, int count) {
    std::string bytes;
    for (int i = 0; i < count; ++i) bytes += frame(Opcode::text, std::to_string(i));
    ASSERT_TRUE(client.send(bytes));
    for (int i = 0; i < count; ++i) ASSERT_EQ(client.hear(), std::to_string(i));
  }

  std::shared_ptr<Script> script_ = std::make_shared<Script>();
  std::shared_ptr<Record> record_ = std::make_shared<Record>();
  Listener listener_;
  Reactor reactor_{options()};
};

TEST_F(ConnectionOfStreamTest, BytesThatTheStreamHoldsAreReadWithoutEpoll) {
  auto client = open();
  script_->bytes_per_read = 3;
  expect_echoes(client, 200);
  EXPECT_GT(script_->reads, 200) << "the socket itself was read once or a few times";
}

TEST_F(ConnectionOfStreamTest, BytesThatTheStreamHoldsAreReadAfterAPause) {
  auto client = open();
  script_->bytes_per_read = 11;  // the frame of "pause"
  ASSERT_TRUE(client.send(frame(Opcode::text, "pause") + frame(Opcode::text, "after")));
  EXPECT_EQ(client.hear(), "after");
}

TEST_F(ConnectionOfStreamTest, StreamsThatHoldBytesAreReadABoundedNumberOfTimesInARound) {
  constexpr int kStreams = 100;
  constexpr int kFrames = 100;
  script_->bytes_per_read = 6;  // an empty frame
  std::string flood;
  for (int i = 0; i < kFrames; ++i) flood += frame(Opcode::text, "");
  std::vector<WebSocketClient> clients;
  for (int i = 0; i < kStreams; ++i) clients.push_back(open());
  // Runs at least once in each round. For the reactor's thread alone.
  int last = script_->reads;
  int most = 0;
  std::atomic<bool> done = false;
  std::promise<void> ended;
  std::function<void()> count = [&] {
    most = std::max(most, script_->reads - last);
    last = script_->reads;
    if (done) return ended.set_value();
    reactor_.post(count);
  };
  std::promise<void> entered, go;
  reactor_.post([&] {
    entered.set_value();
    go.get_future().wait();
    count();
  });
  entered.get_future().wait();
  for (auto& client : clients) ASSERT_TRUE(client.send(flood));
  go.set_value();
  EXPECT_TRUE(eventually([&] { return record_->messages == kStreams * kFrames; }));
  done = true;
  ended.get_future().wait();
  EXPECT_LE(most, 64 + 64) << "those that epoll reports, and those that are revisited";
}

TEST_F(ConnectionOfStreamTest, AReadThatWantsToWriteIsRepeatedWhenTheDescriptorIsWritable) {
  auto client = open();
  script_->reads_that_want_write = 3;
  expect_echoes(client, 10);
  EXPECT_EQ(script_->reads_that_want_write, 0);
}

TEST_F(ConnectionOfStreamTest, AReadThatWantsToWriteIsNotRepeatedBefore) {
  auto client = open();
  script_->fills_the_kernel = true;
  script_->reads_that_want_write = 1'000'000;
  ASSERT_TRUE(client.say("pending while the client reads nothing"));
  ASSERT_TRUE(eventually([&] { return script_->reads_that_want_write < 1'000'000; }));
  const int before = script_->reads;
  constexpr int kRounds = 1'000;
  std::promise<void> ended;
  int rounds = 0;
  std::function<void()> count = [&] {
    if (++rounds == kRounds) return ended.set_value();
    reactor_.post(count);
  };
  reactor_.post(count);
  ended.get_future().wait();
  EXPECT_LT(script_->reads - before, kRounds / 10) << "the client's kernel may still take some";
}

TEST_F(ConnectionOfStreamTest, AWriteThatWantsToReadIsRepeatedWhenTheDescriptorIsReadable) {
  auto client = open();
  script_->writes_that_want_read = 1;
  client.say("one");
  ASSERT_TRUE(eventually([&] { return script_->writes_that_want_read == 0; }));
  client.say("two");
  EXPECT_EQ(client.hear(), "one");
  EXPECT_EQ(client.hear(), "two");
}

TEST_F(ConnectionOfStreamTest, PartialWritesAreContinued) {
  auto client = open();
  script_->bytes_per_write = 5;
  const std::string message(10'000, 'x');
  client.say(message);
  EXPECT_EQ(client.hear(), message);
  EXPECT_GE(script_->writes, 2000);
}

TEST_F(ConnectionOfStreamTest, BytesThatTheStreamHoldsBackAreFlushedAndCountAsNotAcknowledged) {
  auto client = open();
  script_->most_held_bytes = 100;
  client.say("first");
  ASSERT_TRUE(eventually([&] { return script_->held_bytes == 7; }));
  const auto before = kResponse.size();
  client.say("second");
  ASSERT_TRUE(eventually([&] { return record_->messages == 2; }));
  EXPECT_LE(record_->acknowledged, before) << "the kernel has got neither";
  EXPECT_GT(record_->queued, before);
  script_->most_held_bytes = 0;
  EXPECT_EQ(client.hear(), "first");
  EXPECT_EQ(client.hear(), "second");
  EXPECT_GT(script_->flushes, 0);
}

TEST_F(ConnectionOfStreamTest, BytesThatTheStreamStillHeldAreLost) {
  auto client = open();
  script_->most_held_bytes = 100;
  client.say("lost");
  ASSERT_TRUE(eventually([&] { return script_->held_bytes == 6; }));
  client.reset();
  ASSERT_TRUE(eventually([&] { return record_->ended == 1; }));
  reactor_.stop();
  const std::lock_guard lock(record_->mutex);
  ASSERT_FALSE(record_->lost.empty());
  EXPECT_LE(record_->lost.back(), kResponse.size());
}

TEST_F(ConnectionOfStreamTest, AShutdownThatWantsToWriteIsRepeated) {
  auto client = open();
  script_->shutdowns_that_want = 2;
  client.send(close_frame(1000));
  EXPECT_EQ(client.hear(), "(closed 1000)");
  EXPECT_TRUE(client.is_at_end());
  EXPECT_FALSE(client.is_reset());
  EXPECT_EQ(script_->shutdowns, 3);
}

TEST_F(ConnectionOfStreamTest, AStreamIsGivenBackWhereTheReactorTakesNoMore) {
  reactor_.stop();
  auto ends = connected(listener_);
  std::unique_ptr<Stream> stream = std::make_unique<LayeredStream>(std::move(ends.server), script_);
  auto* const given = stream.get();
  EXPECT_FALSE(reactor_.adopt(stream, std::string(kResponse), nullptr,
                              [](Connection&) -> std::unique_ptr<Session> { return nullptr; }));
  EXPECT_EQ(stream.get(), given);
}

}  // namespace
}  // namespace waystation::test
