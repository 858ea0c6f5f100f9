#include "handover/door.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "support/sockets.hpp"
#include "unit/handover/asker.hpp"
#include "unit/handover/messages.hpp"

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// The reactor's loop, of which a test runs each round, at a time of its choice.
class ManualLoop final : public Loop {
 public:
  ManualLoop() : Loop({}, {}, 25'000) {}

  /// Reports all events that are there.
  void round() {
    std::array<epoll_event, 16> events;
    int count = 0;
    while ((count = epoll_wait(epoll_descriptor(), events.data(), events.size(), 0)) > 0) {
      unreported_ = std::span(events).first(static_cast<std::size_t>(count));
      while (!unreported_.empty()) {
        const auto event = unreported_.front();
        unreported_ = unreported_.subspan(1);
        auto* const source = static_cast<EventSource*>(event.data.ptr);
        if (source != nullptr) source->on_events(event.events);
      }
    }
  }

  void pass(std::int64_t ms) {
    now_.steady_ms += ms;
    timers_.run(now_.steady_ms);
  }

  void touch(Connection&) noexcept override {}
  void revisit(Connection&) noexcept override {}
  bool defer_end(Connection&) noexcept override { return false; }
  void on_closed(Connection&) noexcept override {}
  bool reclaim(std::size_t, const Connection&) noexcept override { return false; }
  void count_closed_slow() noexcept override {}
  void count_closed_dead() noexcept override {}
};

/// Records what the door asks of it. The test decides.
class Owner final : public DoorOwner {
 public:
  void decide(Door&, std::uint64_t asker, std::shared_ptr<const Ask> ask) override {
    asked.push_back(asker);
    targets.emplace_back(ask->request().target);
  }
  void withdraw(const Door&, std::uint64_t asker) noexcept override { withdrawn.push_back(asker); }
  std::string refuse(const Refusal& refusal) override {
    problems.push_back(refusal.log_detail);
    return refuse_message("bad_handover", to_response(refusal));
  }
  void take(std::shared_ptr<void> place, FileDescriptor socket, bool is_pumped,
            std::string early) override {
    EXPECT_NE(place, nullptr);
    taken.push_back({std::move(place), std::move(socket), is_pumped, std::move(early)});
  }
  void on_refused() noexcept override { ++refused; }
  void on_unavailable(std::string_view why, bool is_fault) noexcept override {
    (is_fault ? faults : ends).emplace_back(why);
  }

  struct Taken {
    std::shared_ptr<void> place;
    FileDescriptor socket;
    bool is_pumped;
    std::string early;
  };
  std::vector<std::uint64_t> asked, withdrawn;
  std::vector<std::string> targets, problems, faults, ends;
  std::vector<Taken> taken;
  int refused = 0;
};

/// As long as it exists, this process can open no descriptor.
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

class DoorTest : public testing::Test {
 protected:
  DoorTest() {
    FileDescriptor listener(dup(socket_.get()));
    EXPECT_EQ(fcntl(listener.get(), F_SETFL, O_NONBLOCK), 0);
    door_ = std::make_unique<Door>(loop_, owner_, std::move(listener));
  }

  FileDescriptor connect() { return socket_.connect(SOCK_NONBLOCK); }

  /// An asker that got GIVE.
  FileDescriptor given() {
    auto asker = connect();
    send_message(asker, AskMessage{}.bytes());
    loop_.round();
    give();
    EXPECT_EQ(receive_message(asker), give_message());
    return asker;
  }

  void give() {
    auto place = std::make_shared<int>();
    place_ = place;
    door_->answer(owner_.asked.back(), {std::move(place), {}});
  }

  static SocketPair pair() { return SocketPair(SOCK_NONBLOCK); }

  /// Whether all copies of the other end are closed.
  static bool is_ended(const FileDescriptor& own) {
    char byte = 0;
    return recv(own.get(), &byte, 1, 0) == 0;
  }

  ManualLoop loop_;
  Owner owner_;
  DoorSocket socket_;
  std::unique_ptr<Door> door_;
  std::weak_ptr<int> place_;
};

TEST_F(DoorTest, TakesASocketInThreeMessages) {
  auto client = pair();
  const auto asker = connect();
  send_message(asker, AskMessage{.target = "/push/carol/"}.bytes());
  loop_.round();
  EXPECT_THAT(owner_.targets, ElementsAre("/push/carol/"));
  EXPECT_EQ(receive_message(asker), "nothing") << "before the decision";
  give();
  EXPECT_EQ(receive_message(asker), give_message());
  send_message(asker, here_message("early bytes"), {client.other.get()});
  client.other.reset();
  loop_.round();
  ASSERT_THAT(owner_.taken, SizeIs(1));
  const auto& taken = owner_.taken.front();
  EXPECT_EQ(taken.early, "early bytes");
  EXPECT_FALSE(taken.is_pumped);
  EXPECT_EQ(taken.place, place_.lock());
  EXPECT_NE(fcntl(taken.socket.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(::send(taken.socket.get(), "x", 1, 0), 1);
  EXPECT_FALSE(is_ended(client.own)) << "it is the client's socket";
  EXPECT_EQ(receive_message(asker), "end");
  EXPECT_EQ(door_->asker_count(), 0U);
  EXPECT_THAT(owner_.faults, IsEmpty());
  EXPECT_THAT(owner_.ends, IsEmpty());
}

TEST_F(DoorTest, LeavesNoKeyInTheBufferOfTheLoop) {
  auto client = pair();
  const std::string key = "a key of the asker's";
  const auto buffer = loop_.read_buffer(0);
  const auto has_key = [&] {
    return std::string_view(buffer.data(), buffer.size()).find(key) != std::string_view::npos;
  };
  // A message that is decided, one that is malformed, and one with a descriptor.
  for (int i = 0; i < 3; ++i) {
    const auto asker = connect();
    const AskMessage ask{.key = key, .rest = i == 1 ? "x" : ""};
    send_message(asker, ask.bytes(),
                 i == 2 ? std::vector<int>{client.other.get()} : std::vector<int>{});
    loop_.round();
    EXPECT_FALSE(has_key()) << i;
  }
  EXPECT_THAT(owner_.targets, SizeIs(1));
}

TEST_F(DoorTest, TakesAPumpedSocket) {
  auto client = pair();
  const auto asker = given();
  send_message(asker, here_message({}, 1), {client.other.get()});
  loop_.round();
  ASSERT_THAT(owner_.taken, SizeIs(1));
  EXPECT_TRUE(owner_.taken.front().is_pumped);
}

TEST_F(DoorTest, SendsARefusalAndEnds) {
  const auto asker = connect();
  send_message(asker, AskMessage{}.bytes());
  loop_.round();
  door_->answer(owner_.asked.back(), {nullptr, "the refusal"});
  EXPECT_EQ(receive_message(asker), "the refusal");
  EXPECT_EQ(receive_message(asker), "end");
  EXPECT_EQ(owner_.refused, 1);
  EXPECT_EQ(door_->asker_count(), 0U);
}

TEST_F(DoorTest, RefusesMalformedAsks) {
  auto client = pair();
  for (const auto& [message, descriptors] : std::vector<std::pair<std::string, std::vector<int>>>{
           {"?", {}},
           {AskMessage{.version = 2}.bytes(), {}},
           {here_message(), {}},
           {std::string(65'537, 'x'), {}},
           {std::string(80'000, 'x'), {}},
           {AskMessage{}.bytes(), {client.other.get()}}}) {
    const auto asker = connect();
    send_message(asker, message, descriptors);
    loop_.round();
    EXPECT_THAT(receive_message(asker), HasSubstr("bad_handover"));
    EXPECT_EQ(receive_message(asker), "end");
  }
  EXPECT_THAT(owner_.asked, IsEmpty());
  EXPECT_EQ(owner_.refused, 6);
  EXPECT_THAT(owner_.problems.back(), HasSubstr("descriptor"));
  client.other.reset();
  EXPECT_TRUE(is_ended(client.own)) << "the door closed its copy";
}

TEST_F(DoorTest, AskersThatHangAtEachStepAreEndedByTheirDeadlines) {
  const auto silent = connect();
  loop_.round();
  loop_.pass(Door::kAskMs - 1);
  EXPECT_EQ(receive_message(silent), "nothing");
  loop_.pass(1);
  EXPECT_EQ(receive_message(silent), "end");

  const auto undecided = connect();
  send_message(undecided, AskMessage{}.bytes());
  loop_.round();
  loop_.pass(Door::kDecideMs - 1);
  EXPECT_EQ(receive_message(undecided), "nothing");
  loop_.pass(1);
  EXPECT_EQ(receive_message(undecided), "end");
  EXPECT_EQ(owner_.withdrawn, owner_.asked);
  door_->answer(owner_.asked.back(), {std::make_shared<int>(), {}});  // too late: nothing happens

  auto client = pair();
  const auto hesitant = given();
  loop_.pass(Door::kHereMs - 1);
  EXPECT_EQ(receive_message(hesitant), "nothing");
  EXPECT_FALSE(place_.expired());
  loop_.pass(1);
  EXPECT_EQ(receive_message(hesitant), "end");
  EXPECT_TRUE(place_.expired()) << "the client's place is free again";
  EXPECT_EQ(::send(hesitant.get(), "late", 4, MSG_NOSIGNAL), -1);

  EXPECT_THAT(owner_.faults, ElementsAre(HasSubstr("ASK"), HasSubstr("HERE")));
  EXPECT_THAT(owner_.ends, ElementsAre(HasSubstr("decision")));
  EXPECT_EQ(door_->asker_count(), 0U);
}

TEST_F(DoorTest, AskersMayEndAtEachStep) {
  connect().reset();
  loop_.round();
  EXPECT_THAT(owner_.ends, SizeIs(1));

  auto asker = connect();
  send_message(asker, AskMessage{}.bytes());
  loop_.round();
  asker.reset();
  loop_.round();
  EXPECT_THAT(owner_.ends, SizeIs(2)) << "without waiting for the decision";
  EXPECT_EQ(owner_.withdrawn, owner_.asked);
  give();
  EXPECT_TRUE(place_.expired());

  // The end and the decision come in the same round.
  asker = connect();
  send_message(asker, AskMessage{}.bytes());
  loop_.round();
  asker.reset();
  give();
  loop_.round();
  EXPECT_THAT(owner_.ends, SizeIs(3));
  EXPECT_TRUE(place_.expired());

  given().reset();
  loop_.round();
  EXPECT_THAT(owner_.ends, SizeIs(4));
  EXPECT_TRUE(place_.expired());
  EXPECT_THAT(owner_.faults, IsEmpty());
  EXPECT_EQ(door_->asker_count(), 0U);
}

TEST_F(DoorTest, ClosesAllDescriptorsOfAMalformedHere) {
  for (const auto& [message, count] :
       std::vector<std::pair<std::string, std::size_t>>{{here_message(), 0},
                                                        {here_message(), 2},
                                                        {here_message(), 12},
                                                        {here_message() + "x", 1},
                                                        {here_message({}, 8), 1},
                                                        {std::string(100'000, 'x'), 1},
                                                        {AskMessage{}.bytes(), 1}}) {
    const auto before = open_descriptors();
    auto client = pair();
    {
      const auto asker = given();
      send_message(asker, message, std::vector<int>(count, client.other.get()));
      client.other.reset();
      loop_.round();
      EXPECT_EQ(receive_message(asker), "end");
    }
    EXPECT_TRUE(is_ended(client.own)) << count;
    EXPECT_TRUE(place_.expired());
    client.own.reset();
    EXPECT_EQ(open_descriptors(), before);
  }
  EXPECT_THAT(owner_.taken, IsEmpty());
  EXPECT_THAT(owner_.faults, SizeIs(7));
}

TEST_F(DoorTest, NoReceivedSocketWaitsForItsClientWhenItCloses) {
  const linger former{1, 1000};
  const Listener listener;
  ASSERT_EQ(setsockopt(listener.get(), SOL_SOCKET, SO_LINGER, &former, sizeof former), 0);
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  const auto asker = given();
  send_message(asker, here_message() + "x", {server.get()});
  loop_.round();
  EXPECT_THAT(owner_.faults, SizeIs(1)) << "the door closed it";
  linger now{};
  socklen_t size = sizeof now;
  ASSERT_EQ(getsockopt(server.get(), SOL_SOCKET, SO_LINGER, &now, &size), 0);
  EXPECT_EQ(now.l_onoff, 0);
}

TEST_F(DoorTest, ASecondHereIsClosedUnread) {
  auto client = pair();
  auto other = pair();
  const auto asker = given();
  send_message(asker, here_message(), {client.other.get()});
  send_message(asker, here_message(), {other.other.get()});
  other.other.reset();
  loop_.round();
  EXPECT_THAT(owner_.taken, SizeIs(1));
  EXPECT_TRUE(is_ended(other.own));
}

TEST_F(DoorTest, AHereThatComesTooEarlyIsReadAfterTheDecision) {
  auto client = pair();
  auto asker = connect();
  send_message(asker, AskMessage{}.bytes());
  send_message(asker, here_message(), {client.other.get()});
  loop_.round();
  EXPECT_THAT(owner_.taken, IsEmpty());
  give();
  loop_.round();
  EXPECT_THAT(owner_.taken, SizeIs(1));

  auto refused = pair();
  asker = connect();
  send_message(asker, AskMessage{}.bytes());
  send_message(asker, here_message(), {refused.other.get()});
  refused.other.reset();
  loop_.round();
  door_->answer(owner_.asked.back(), {nullptr, "no"});
  EXPECT_TRUE(is_ended(refused.own));
}

TEST_F(DoorTest, MoreAskersThanAllowedWaitInTheBacklog) {
  std::vector<FileDescriptor> askers(Door::kMaxAskers + 3);
  for (auto& asker : askers) {
    asker = connect();
    send_message(asker, AskMessage{}.bytes());
  }
  for (int i = 0; i < 40; ++i) loop_.round();
  EXPECT_EQ(door_->asker_count(), Door::kMaxAskers);
  EXPECT_THAT(owner_.asked, SizeIs(Door::kMaxAskers));
  door_->answer(owner_.asked.front(), {nullptr, "no"});
  for (int i = 0; i < 3; ++i) loop_.round();
  EXPECT_THAT(owner_.asked, SizeIs(Door::kMaxAskers + 1));
  while (owner_.refused < static_cast<int>(askers.size())) {
    ASSERT_FALSE(owner_.asked.empty());
    const auto asked = std::exchange(owner_.asked, {});
    for (const auto id : asked) door_->answer(id, {nullptr, "no"});
    loop_.round();
  }
  EXPECT_EQ(door_->asker_count(), 0U);
}

// In the build with UndefinedBehaviorSanitizer, the first check of a type opens a pipe. Without
// descriptors it takes every object for an invalid one.
#ifndef __SANITIZE_ADDRESS__
TEST_F(DoorTest, WaitsWhenNoDescriptorIsLeft) {
  const auto first = connect();
  const auto second = connect();
  {
    const NoDescriptors none_left;
    loop_.round();  // would not end if the listener stayed ready
    EXPECT_EQ(door_->asker_count(), 0U);
  }
  loop_.round();
  EXPECT_EQ(door_->asker_count(), 0U) << "not before the pause is over";
  loop_.pass(1000);
  loop_.round();
  EXPECT_EQ(door_->asker_count(), 2U);
}
#endif

TEST_F(DoorTest, ClosesItsAskersWithItself) {
  const auto silent = connect();
  const auto asker = given();
  loop_.round();
  door_.reset();
  EXPECT_EQ(receive_message(silent), "end");
  EXPECT_EQ(receive_message(asker), "end");
  EXPECT_TRUE(place_.expired());
}

}  // namespace
}  // namespace waystation::test
