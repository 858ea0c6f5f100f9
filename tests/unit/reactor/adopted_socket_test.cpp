#include "reactor/adopted_socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include "support/failing_calls.hpp"
#include "support/sockets.hpp"

namespace waystation::test {
namespace {

using test::connect_to;
using test::cookie_of;
using test::Endpoint;
using test::eventually;
using test::Listener;
using test::receive_exactly;
using Cause = AdoptionFailure::Cause;
using Adoption = Result<AdoptedSocket, AdoptionFailure>;

Adoption adopt(const std::string& address, std::uint16_t remote_port, std::uint16_t local_port) {
  return adopt_socket({-1, address, remote_port, local_port});
}

/// As a web server would ask for the connection that it accepted as `fd`.
Adoption adopt_accepted(int fd) {
  const auto peer = Endpoint::peer_of(fd);
  return adopt(peer.address(), peer.port(), Endpoint::local_of(fd).port());
}

std::optional<Cause> cause_of(const Adoption& result) {
  return result ? std::nullopt : std::optional(result.error().cause);
}

/// That `result` leads to `client`, and that the server's number is dead.
void expect_taken(const Adoption& result, const FileDescriptor& client,
                  const FileDescriptor& server) {
  ASSERT_TRUE(result) << result.error().detail;
  EXPECT_TRUE(test::reads_eof(server.get()));
  ASSERT_TRUE(test::send_all(result->get(), "hello"));
  EXPECT_EQ(receive_exactly(client.get(), 5), "hello");
  ASSERT_TRUE(test::send_all(client.get(), "world"));
  EXPECT_EQ(receive_exactly(result->get(), 5), "world");
}

void expect_untouched(const FileDescriptor& client, const FileDescriptor& server) {
  ASSERT_TRUE(test::send_all(client.get(), "x"));
  EXPECT_EQ(receive_exactly(server.get(), 1), "x");
}

/// Runs `check` in a child process, which may change limits. It returns the error, or nothing.
template <typename F>
void in_child(F&& check) {
  const auto pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    std::string problem;
    try {
      problem = check();
    } catch (const std::exception& e) {
      problem = e.what();
    }
    if (!problem.empty()) dprintf(STDERR_FILENO, "in the child: %s\n", problem.c_str());
    _exit(problem.empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

bool limit_descriptors(rlim_t count) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (count > limit.rlim_max) return false;
  limit.rlim_cur = count;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

TEST(AdoptedSocket, IsFoundByItsIPv4Address) {
  const Listener listener("127.0.0.1");
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  expect_taken(adopt_accepted(server.get()), client, server);
}

TEST(AdoptedSocket, IsFoundByItsIPv6Address) {
  const Listener listener("::1");
  const auto client = connect_to({"::1", listener.port()});
  const auto server = listener.accept();
  expect_taken(adopt_accepted(server.get()), client, server);
}

TEST(AdoptedSocket, IsFoundByEverySpellingOfAMappedAddress) {
  for (const char* written : {"127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"}) {
    const Listener listener("::", true);
    const auto client = connect_to({"127.0.0.1", listener.port()});
    const auto server = listener.accept();
    expect_taken(adopt(written, Endpoint::local_of(client.get()).port(), listener.port()), client,
                 server);
  }
}

TEST(AdoptedSocket, IsFoundByAnAddressWithAScope) {
  const Listener listener("::1");
  const auto client = connect_to({"::1", listener.port()});
  const auto server = listener.accept();
  expect_taken(adopt("::1%lo", Endpoint::local_of(client.get()).port(), listener.port()), client,
               server);
}

TEST(AdoptedSocket, IsTheOneAmongMany) {
  const Listener listener;
  std::vector<FileDescriptor> clients, servers;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(connect_to({"127.0.0.1", listener.port()}));
    servers.push_back(listener.accept());
  }
  for (std::size_t i = 0; i < clients.size(); ++i) {
    expect_taken(adopt_accepted(servers[i].get()), clients[i], servers[i]);
  }
}

/// Two connected sockets of this process.
struct Pair {
  Pair() {
    std::array<int, 2> fds{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    peer = FileDescriptor(fds[0]);
    own = FileDescriptor(fds[1]);
  }
  FileDescriptor peer, own;
};

/// Two connections from one client port to two addresses of this process.
struct Twins {
  Twins(const Listener& first_listener, const Listener& second_listener) {
    const Endpoint any_port("127.0.0.1", 0);
    const auto port = first_listener.port();
    first = connect_to({"127.0.0.1", port}, &any_port);
    from = Endpoint::local_of(first.get());
    first_server = first_listener.accept();
    second = connect_to({"127.0.0.2", port}, &from);
    second_server = second_listener.accept();
  }

  std::optional<Cause> adopt_one() const {
    return cause_of(adopt(from.address(), from.port(), Endpoint::peer_of(first.get()).port()));
  }

  void expect_none_adopted() const {
    EXPECT_EQ(adopt_one(), Cause::ambiguous);
    expect_untouched(first, first_server);
    expect_untouched(second, second_server);
  }

  FileDescriptor first, second, first_server, second_server;
  Endpoint from;
};

TEST(AdoptedSocket, OneClientPortAtTwoAddressesIsRefusedByEveryKindOfListener) {
  const Listener any_v4("0.0.0.0");
  Twins(any_v4, any_v4).expect_none_adopted();
  const Listener any("::", true);
  Twins(any, any).expect_none_adopted();
  // Each is bound to one address.
  const Listener one("127.0.0.1");
  const Listener other("127.0.0.2", false, 0, one.port());
  Twins(one, other).expect_none_adopted();
  // One is, and the other connection is that of a listener for all addresses.
  const Listener mapped("::ffff:127.0.0.1", true);
  const Listener other_v4("127.0.0.2", false, 0, mapped.port());
  Twins(mapped, other_v4).expect_none_adopted();
}

/// Moves a descriptor to `number`, or fails the test.
void move_to(FileDescriptor& fd, int number) {
  FileDescriptor moved(fcntl(fd.get(), F_DUPFD_CLOEXEC, number));
  ASSERT_EQ(moved.get(), number);
  fd = std::move(moved);
}

TEST(AdoptedSocket, ASecondConnectionIsFoundAtEveryNumber) {
  in_child([] {
    if (!limit_descriptors(8192)) return std::string();
    const Listener listener;
    const auto adopt_at = [&](int number, std::vector<FileDescriptor>& peers) {
      // The numbers below are taken until it has got its own.
      std::vector<FileDescriptor> crowd;
      while (crowd.empty() || crowd.back().get() < number - 1) {
        crowd.emplace_back(fcntl(listener.get(), F_DUPFD_CLOEXEC, 1024));
      }
      peers.push_back(connect_to({"127.0.0.1", listener.port()}));
      const auto server = listener.accept();
      return adopt_accepted(server.get());
    };
    std::vector<FileDescriptor> peers;
    // Numbers between these are free: in a short row, and in a long one.
    const auto first = adopt_at(1100, peers);
    const auto second = adopt_at(1200, peers);
    const auto third = adopt_at(2000, peers);
    if (!first || !second || !third || third->get() < 2000) return std::string("not adopted");
    const Listener one("127.0.0.1");
    const Listener other("127.0.0.2", false, 0, one.port());
    Twins twins(one, other);
    const int low = twins.second_server.get();
    for (const int number :
         {low, 60, 64, 128, 500, 1000, 1022, 1150, 1201 + 10, 1500, 1999, 2100, 2500, 4000, 8000}) {
      if (number != low) move_to(twins.second_server, number);
      if (twins.adopt_one() != Cause::ambiguous) return "not found at " + std::to_string(number);
    }
    // With the kernel's list and without it.
    test::make_fail({SYS_getdents64, EIO});
    for (const int number : {1500, 60, 8000}) {
      move_to(twins.second_server, number);
      if (twins.adopt_one() != Cause::ambiguous) return "not tried at " + std::to_string(number);
    }
    twins.second_server.reset();
    return twins.adopt_one() ? std::string("not the only one") : std::string();
  });
}

TEST(AdoptedSocket, OpenConnectionsAreFoundAmongManyAdoptedSockets) {
  in_child([]() -> std::string {
    if (!limit_descriptors(8192)) return {};
    const Listener listener;
    std::vector<AdoptedSocket> adopted;
    std::vector<FileDescriptor> peers;
    while (adopted.size() < 2500) {
      Pair pair;
      auto taken = AdoptedSocket::from(pair.own, 0);
      if (!taken) return taken.error().detail;
      adopted.push_back(std::move(*taken));
      pair.peer.reset();
    }
    // Below, between and above.
    const int between = adopted[2000].get();
    adopted[2000].reset();
    std::vector<int> expected;
    for (const int number : {500, between, 6000}) {
      peers.push_back(connect_to({"127.0.0.1", listener.port()}));
      auto server = listener.accept();
      move_to(server, number);
      expected.push_back(server.get());
      peers.push_back(std::move(server));
    }
    const std::array<std::uint16_t, 1> ports{listener.port()};
    const auto found = open_connections(ports, 0);
    if (!found) return found.error().message();
    std::vector<int> numbers;
    for (const auto& each : *found) numbers.push_back(each.descriptor);
    return numbers == expected ? std::string() : testing::PrintToString(numbers);
  });
}

TEST(AdoptedSocket, AChildProcessSearchesItsOwnDescriptors) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  ASSERT_EQ(cause_of(adopt_accepted(server.get())), std::nullopt);
  const Listener any("0.0.0.0");
  const Twins twins(any, any);
  in_child([&] {
    if (!limit_descriptors(4096)) return std::string();
    const FileDescriptor high(fcntl(twins.second_server.get(), F_DUPFD_CLOEXEC, 3000));
    ::close(twins.second_server.get());
    return twins.adopt_one() == Cause::ambiguous ? std::string() : "not ambiguous";
  });
  twins.expect_none_adopted();
}

/// The state of this process's first thread: a letter of proc(5), Z if it has ended.
char first_threads_state() {
  const FileDescriptor file(open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
  std::array<char, 256> text{};
  const auto size = read(file.get(), text.data(), text.size());
  const std::string_view stat(text.data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  const auto name_end = stat.rfind(')');
  return name_end + 2 < stat.size() ? stat[name_end + 2] : '?';
}

TEST(AdoptedSocket, ASecondConnectionIsFoundIfTheKernelListsNothing) {
  const Listener any("0.0.0.0");
  Twins twins(any, any);
  in_child([&]() -> std::string {
    if (!limit_descriptors(4096)) return {};
    move_to(twins.second_server, 900);
    std::thread([&] {
      // The kernel has no list of a process whose first thread has ended.
      const bool ended = eventually([] { return first_threads_state() == 'Z'; });
      _exit(ended && twins.adopt_one() == Cause::ambiguous ? 0 : 1);
    }).detach();
    for (;;) syscall(SYS_exit, 0);
  });
  twins.expect_none_adopted();
}

TEST(AdoptedSocket, NothingIsAdoptedIfTheSearchFails) {
  const Listener any("0.0.0.0");
  const auto earlier = connect_to({"127.0.0.1", any.port()});
  const auto earlier_server = any.accept();
  const Twins twins(any, any);
  in_child([&] {
    if (!limit_descriptors(4096)) return std::string();
    const auto taken = adopt_accepted(earlier_server.get());
    if (!taken) return taken.error().detail;
    const FileDescriptor high(fcntl(twins.second_server.get(), F_DUPFD_CLOEXEC, taken->get() + 10));
    ::close(twins.second_server.get());
    if (twins.adopt_one() != Cause::ambiguous) return std::string("not ambiguous");
    if (!has_descriptors(0)) return std::string("no descriptors");
    // All numbers are polled if there is no list: 1,024 at once, and then the rest.
    test::make_fail({SYS_getdents64, EIO});
    test::make_fail({SYS_poll, ENOMEM, test::FailingCall::When::second_is_not, 1024});
    if (twins.adopt_one() != Cause::failed) return std::string("it did not fail");
    if (has_descriptors(0)) return std::string("descriptors that were not counted");
    return std::string();
  });
  expect_untouched(twins.first, twins.first_server);
  expect_untouched(twins.second, twins.second_server);
}

TEST(AdoptedSocket, NothingIsAdoptedIfAnAddressCannotBeRead) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  const auto from = Endpoint::local_of(client.get());
  const auto port = listener.port();
  for (const long call : {SYS_getsockname, SYS_getsockopt}) {
    test::where_it_fails({call, ENOBUFS}, [&] {
      EXPECT_EQ(cause_of(adopt(from.address(), from.port(), port)), Cause::failed);
    });
  }
  expect_untouched(client, server);
  // A descriptor that this process may not examine belongs to another program, and is ignored.
  test::where_it_fails({SYS_getsockname, EACCES}, [&] {
    EXPECT_EQ(cause_of(adopt(from.address(), from.port(), port)), Cause::not_found);
  });
}

TEST(AdoptedSocket, AReusedClientPortIsAmbiguous) {
  const Listener listener;
  const Endpoint any_port("127.0.0.1", 0);
  auto first = connect_to({"127.0.0.1", listener.port()}, &any_port);
  const auto from = Endpoint::local_of(first.get());
  const auto first_server = listener.accept();
  test::reset_on_close(first.get());
  first.reset();
  const auto second = connect_to({"127.0.0.1", listener.port()}, &from);
  const auto second_server = listener.accept();
  // The server still deals with the request of the first.
  EXPECT_EQ(cause_of(adopt(from.address(), from.port(), listener.port())), Cause::ambiguous);
  expect_untouched(second, second_server);
}

TEST(AdoptedSocket, AnUnknownConnectionIsNotFound) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  const auto port = Endpoint::local_of(client.get()).port();
  EXPECT_EQ(cause_of(adopt("127.0.0.1", static_cast<std::uint16_t>(port ^ 1), listener.port())),
            Cause::not_found);
  EXPECT_EQ(cause_of(adopt("127.0.0.2", port, listener.port())), Cause::not_found);
  EXPECT_EQ(cause_of(adopt("127.0.0.1", port, static_cast<std::uint16_t>(listener.port() ^ 1))),
            Cause::not_found);
  expect_untouched(client, server);
}

TEST(AdoptedSocket, TheClientsEndInTheSameProcessIsNotMistakenForTheServers) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  expect_taken(adopt_accepted(server.get()), client, server);
  EXPECT_EQ(cause_of(adopt_accepted(client.get())), std::nullopt);
}

TEST(AdoptedSocket, ADisconnectedPeerIsNotFound) {
  const Listener listener;
  auto client = connect_to({"127.0.0.1", listener.port()});
  const auto from = Endpoint::local_of(client.get());
  const auto server = listener.accept();
  test::reset_on_close(client.get());
  client.reset();
  EXPECT_EQ(cause_of(adopt(from.address(), from.port(), listener.port())), Cause::not_found);
  EXPECT_EQ(cause_of(adopt_socket({server.get(), "", 0, 0})), Cause::not_found);
}

TEST(AdoptedSocket, APeerWithoutAnIPAddressIsNotSupported) {
  for (const char* address : {"", "/run/web.sock", "localhost", "127.0.0.1:80", "300.0.0.1"}) {
    EXPECT_EQ(cause_of(adopt(address, 1, 2)), Cause::unsupported) << address;
  }
}

TEST(AdoptedSocket, AGivenDescriptorNeedsNoSearch) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  expect_taken(adopt_socket({server.get(), "nowhere", 0, 0}), client, server);

  std::array<int, 2> pair{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  const FileDescriptor ours(pair[0]);
  const FileDescriptor theirs(pair[1]);
  expect_taken(adopt_socket({theirs.get(), "", 0, 0}), ours, theirs);
}

TEST(AdoptedSocket, AGivenDescriptorMustBeAConnectedStreamOfTheServers) {
  EXPECT_EQ(cause_of(adopt_socket({9999, "", 0, 0})), Cause::failed);
  const FileDescriptor file(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(cause_of(adopt_socket({file.get(), "", 0, 0})), Cause::unsupported);
  const FileDescriptor datagrams(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(cause_of(adopt_socket({datagrams.get(), "", 0, 0})), Cause::unsupported);
  const Listener listener;
  EXPECT_EQ(cause_of(adopt_socket({listener.get(), "", 0, 0})), Cause::not_found);

  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  const auto taken = adopt_accepted(server.get());
  const int adopted = taken->get();
  EXPECT_EQ(cause_of(adopt_socket({adopted, "", 0, 0})), Cause::failed);
  ASSERT_TRUE(test::send_all(adopted, "x"));
  EXPECT_EQ(receive_exactly(client.get(), 1), "x");
}

TEST(AdoptedSocket, AnOwnDescriptorIsMovedAndNothingElseIsOpened) {
  Pair pair;
  ASSERT_TRUE(has_descriptors(0));  // opens the list of descriptors
  const auto before = test::open_descriptors();
  auto result = AdoptedSocket::from(pair.own, 0);
  ASSERT_TRUE(result) << result.error().detail;
  EXPECT_FALSE(pair.own);
  EXPECT_EQ(test::open_descriptors(), before);
  EXPECT_NE(fcntl(result->get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_TRUE(test::send_all(result->get(), "hello"));
  EXPECT_EQ(receive_exactly(pair.peer.get(), 5), "hello");
  result = AdoptedSocket();
  EXPECT_TRUE(test::reads_eof(pair.peer.get())) << "closed with its owner";
}

TEST(AdoptedSocket, AnOwnDescriptorIsNotTheWebServersAnyMore) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  auto server = listener.accept();
  const auto from = Endpoint::local_of(client.get());
  const auto result = AdoptedSocket::from(server, 0);
  ASSERT_EQ(cause_of(result), std::nullopt);
  EXPECT_EQ(cause_of(adopt(from.address(), from.port(), listener.port())), Cause::not_found);
}

TEST(AdoptedSocket, AnOwnDescriptorMustBeAConnectedStreamAndStaysWithItsOwnerOtherwise) {
  const auto refused = [](FileDescriptor& descriptor) {
    const int number = descriptor.get();
    const auto cause = cause_of(AdoptedSocket::from(descriptor, 0));
    EXPECT_EQ(descriptor.get(), number);
    EXPECT_NE(fcntl(number, F_GETFD), -1) << "it is still open";
    return cause;
  };
  FileDescriptor none;
  EXPECT_EQ(cause_of(AdoptedSocket::from(none, 0)), Cause::failed);
  FileDescriptor file(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(refused(file), Cause::unsupported);
  FileDescriptor datagrams(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refused(datagrams), Cause::unsupported);
  FileDescriptor unconnected(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refused(unconnected), Cause::not_found);
  Pair pair;
  const auto adopted = AdoptedSocket::from(pair.own, 0);
  ASSERT_EQ(cause_of(adopted), std::nullopt);
  // By its number, as a mistaken caller would have it.
  FileDescriptor again(adopted->get());
  EXPECT_EQ(cause_of(AdoptedSocket::from(again, 0)), Cause::failed);
  again.release();
}

TEST(AdoptedSocket, ClosingNeverWaitsForTheClient) {
  const linger former{1, 1000};
  const Listener listener;
  // Connections get the option of the socket that accepts them.
  ASSERT_EQ(setsockopt(listener.get(), SOL_SOCKET, SO_LINGER, &former, sizeof former), 0);
  std::vector<FileDescriptor> clients;
  const auto accepted = [&] {
    clients.push_back(connect_to({"127.0.0.1", listener.port()}));
    return listener.accept();
  };
  const auto is_lingering = [](int fd) {
    linger option{};
    socklen_t size = sizeof option;
    EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_LINGER, &option, &size), 0);
    return option.l_onoff != 0;
  };
  auto own = accepted();
  ASSERT_TRUE(is_lingering(own.get()));
  const auto moved = AdoptedSocket::from(own, 0);
  ASSERT_EQ(cause_of(moved), std::nullopt);
  EXPECT_FALSE(is_lingering(moved->get()));

  const auto known = accepted();
  const auto given = adopt_socket({known.get(), "", 0, 0});
  ASSERT_EQ(cause_of(given), std::nullopt);
  EXPECT_FALSE(is_lingering(given->get()));

  const auto unknown = accepted();
  const auto found = adopt_accepted(unknown.get());
  ASSERT_EQ(cause_of(found), std::nullopt);
  EXPECT_FALSE(is_lingering(found->get()));

  const auto tls = accepted();
  const auto peer = Endpoint::peer_of(tls.get());
  const auto address = peer.address();
  const auto gated = adopt_gated({tls.get(), address, peer.port(), listener.port()});
  ASSERT_TRUE(gated) << gated.error().detail;
  EXPECT_FALSE(is_lingering(gated->socket.get()));

  const auto refused = accepted();
  ASSERT_EQ(cause_of(adopt_socket({refused.get(), "", 0, 0, UINT32_MAX})), Cause::exhausted);
  EXPECT_TRUE(is_lingering(refused.get())) << "what was not adopted is unchanged";
}

TEST(AdoptedSocket, GivenDescriptorsAreAdoptedWithoutASearch) {
  // Larger than any other test's, so that the first adoption counts all descriptors.
  constexpr std::uint32_t kReserve = 100;
  Pair first;
  ASSERT_EQ(cause_of(AdoptedSocket::from(first.own, kReserve)), std::nullopt);
  Pair own;
  const Pair servers;
  test::where_it_fails({SYS_poll, ENOMEM}, [&] {
    EXPECT_EQ(cause_of(AdoptedSocket::from(own.own, kReserve)), std::nullopt);
    EXPECT_EQ(cause_of(adopt_socket({servers.own.get(), "", 0, 0, kReserve})), std::nullopt);
    // What the count does not answer is counted anew.
    Pair other;
    EXPECT_EQ(cause_of(AdoptedSocket::from(other.own, kReserve + 1)), Cause::failed);
  });
}

TEST(AdoptedSocket, OwnDescriptorsKeepTheReserve) {
  in_child([] {
    constexpr int kLimit = 256;
    constexpr std::uint32_t kReserve = 64;
    if (!limit_descriptors(kLimit)) return std::string("no such limit");
    std::vector<FileDescriptor> peers;
    std::vector<AdoptedSocket> adopted;
    for (;;) {
      Pair pair;
      auto result = AdoptedSocket::from(pair.own, kReserve);
      if (cause_of(result) == Cause::exhausted) break;
      if (cause_of(result)) return result.error().detail;
      adopted.push_back(std::move(*result));
      peers.push_back(std::move(pair.peer));
    }
    const auto left = kLimit - static_cast<int>(test::open_descriptors());
    return left + 8 >= int{kReserve} && left <= int{kReserve} + 8
               ? std::string()
               : std::to_string(left) + " descriptors are left";
  });
}

TEST(AdoptedSocket, IsNeverFoundAgain) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  const auto from = Endpoint::local_of(client.get());
  const auto taken = adopt_accepted(server.get());
  ASSERT_EQ(cause_of(taken), std::nullopt);
  EXPECT_EQ(cause_of(adopt(from.address(), from.port(), listener.port())), Cause::not_found);
}

TEST(AdoptedSocket, IsClosedWithItsOwner) {
  const Listener listener;
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  auto taken = adopt_accepted(server.get());
  auto owner = std::move(*taken);
  AdoptedSocket other;
  other = std::move(owner);
  ASSERT_TRUE(test::send_all(other.get(), "x"));
  EXPECT_EQ(receive_exactly(client.get(), 1), "x");
  other.reset();
  other.reset();
  EXPECT_EQ(other.get(), -1);
  EXPECT_TRUE(test::reads_eof(client.get()));
}

TEST(AdoptedSocket, LeavesTheLowNumbersToTheServerWhereTheLimitAllows) {
  in_child([] {
    if (!limit_descriptors(4096)) return std::string();  // not on this machine
    const Listener listener;
    const auto client = connect_to({"127.0.0.1", listener.port()});
    const auto server = listener.accept();
    const auto taken = adopt_accepted(server.get());
    if (!taken) return taken.error().detail;
    return taken->get() >= 1024 ? std::string() : "number " + std::to_string(taken->get());
  });
}

/// Adopts sockets until the reserve is reached, then closes some. Returns the error, or nothing.
std::string adopt_to_the_limit(std::uint32_t reserve, bool by_descriptor) {
  constexpr rlim_t kLimit = 256;
  const auto adopt = [&](int fd) {
    const auto peer = Endpoint::peer_of(fd);
    const auto address = peer.address();
    return adopt_socket(
        {by_descriptor ? fd : -1, address, peer.port(), Endpoint::local_of(fd).port(), reserve});
  };
  if (!limit_descriptors(kLimit)) return std::string("no such limit");
  const Listener listener;
  std::vector<FileDescriptor> peers;
  std::vector<AdoptedSocket> adopted;
  for (;;) {
    auto client = connect_to({"127.0.0.1", listener.port()});
    const auto server = listener.accept();
    auto taken = adopt(server.get());
    if (taken) {
      adopted.push_back(std::move(*taken));
      peers.push_back(std::move(client));
      continue;
    }
    if (cause_of(taken) != Cause::exhausted) return taken.error().detail;
    if (!test::send_all(client.get(), "x") || receive_exactly(server.get(), 1) != "x") {
      return std::string("the refused one was touched");
    }
    if (has_descriptors(reserve)) return std::string("there is room, and there is none");
    break;
  }
  if (adopted.size() < 30) return "only " + std::to_string(adopted.size());
  const auto left = kLimit - test::open_descriptors();
  if (left + 8 < reserve) return std::to_string(left) + " descriptors are left";
  if (left > reserve + 8) return std::to_string(left) + " descriptors are kept from sockets";
  // Adoption works again when descriptors are free.
  adopted.pop_back();
  adopted.pop_back();
  if (!has_descriptors(reserve)) return std::string("there is no room, and there is some");
  const auto client = connect_to({"127.0.0.1", listener.port()});
  const auto server = listener.accept();
  const auto taken = adopt(server.get());
  return cause_of(taken) ? taken.error().detail : std::string();
}

TEST(AdoptedSocket, WorksUnderALowLimitAndKeepsTheReserve) {
  in_child([] { return adopt_to_the_limit(64, false); });
  in_child([] { return adopt_to_the_limit(128, false); });
}

TEST(AdoptedSocket, KeepsTheReserveWhereDescriptorsAreGiven) {
  in_child([] { return adopt_to_the_limit(64, true); });
  in_child([] { return adopt_to_the_limit(128, true); });
}

TEST(AdoptedSocket, IsFoundInACrowdedHost) {
  in_child([] {
    if (!limit_descriptors(4096)) return std::string();
    std::vector<FileDescriptor> own;
    while (own.empty() || own.back().get() < 1500) {
      own.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!own.back()) return std::string("no descriptor");
    }
    const Listener listener;
    const auto client = connect_to({"127.0.0.1", listener.port()});
    auto server = listener.accept();
    if (server.get() < 1500) return std::string("not crowded");
    const auto cookie = cookie_of(server.get());
    auto taken = adopt_accepted(server.get());
    if (cause_of(taken)) return taken.error().detail;
    if (cookie_of(taken->get()) != cookie) return std::string("another");

    // The same once the crowd has gone, with the server's number still up there.
    const auto late_client = connect_to({"127.0.0.1", listener.port()});
    const auto late_server = listener.accept();
    own.clear();
    taken = adopt_accepted(late_server.get());
    return cause_of(taken) ? taken.error().detail : std::string();
  });
}

TEST(AdoptedSocket, AllDescriptorsOfTheHostCountAgainstTheReserve) {
  in_child([] {
    constexpr int kLimit = 4096;
    if (!limit_descriptors(kLimit)) return std::string();
    const Listener listener;
    const auto client = connect_to({"127.0.0.1", listener.port()});
    const auto server = listener.accept();
    std::vector<FileDescriptor> own;
    while (own.empty() || own.back().get() < kLimit - 40) {
      own.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!own.back()) return std::string("no descriptor");
    }
    const auto taken = adopt_accepted(server.get());
    return cause_of(taken) == Cause::exhausted ? std::string() : "not exhausted";
  });
}

/// Clients come and go in every way while a server's workers adopt and the host opens and closes
/// other descriptors. Each connection carries a nonce, and the receiver of a reply checks it.
/// Where the server has two addresses of IPv4, some clients are connected to both from one port.
class LoadTest {
 public:
  LoadTest(const std::string& listen_on, bool dual, std::vector<std::string> connect_to)
      : listener_(listen_on, dual), addresses_(std::move(connect_to)) {
    for (const auto& address : addresses_) {
      const Endpoint to(address, listener_.port());
      if (to.family() == AF_INET) twins_.push_back(to);
    }
  }

  bool has_twins() const { return twins_.size() > 1; }

  void run(unsigned seed, int connections_per_client) {
    std::vector<std::thread> workers, clients, hosts;
    // Each client may wait for two of them at once.
    for (int i = 0; i < 8; ++i) workers.emplace_back([this] { work(); });
    for (int i = 0; i < 2; ++i)
      hosts.emplace_back([this, seed, i] { churn(seed + 100U + static_cast<unsigned>(i)); });
    for (unsigned i = 0; i < 4; ++i) {
      clients.emplace_back([=, this] { come_and_go(seed + i, connections_per_client); });
    }
    for (auto& client : clients) client.join();
    done_ = true;
    for (auto& thread : workers) thread.join();
    for (auto& thread : hosts) thread.join();
  }

  std::atomic<int> adopted = 0, refused = 0, wrong = 0, touched = 0, answered = 0;
  std::atomic<int> ambiguous = 0;  // among those refused

 private:
  /// A worker of the web server.
  void work() {
    // Several workers are woken by one client: those that come too late must not wait for another.
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
    while (!done_) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (poll(&ready, 1, 20) != 1) continue;
      sockaddr_storage storage{};
      socklen_t size = sizeof storage;
      const FileDescriptor server(accept4(listener_.get(), reinterpret_cast<sockaddr*>(&storage),
                                          &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!server) continue;  // another worker was sooner, or the client left
      // The addresses are known from here on, whatever becomes of the peer.
      std::string address(INET6_ADDRSTRLEN, '\0');
      std::uint16_t port = 0;
      if (storage.ss_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
        inet_ntop(AF_INET, &v4.sin_addr, address.data(), INET6_ADDRSTRLEN);
        port = ntohs(v4.sin_port);
      } else {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
        inet_ntop(AF_INET6, &v6.sin6_addr, address.data(), INET6_ADDRSTRLEN);
        port = ntohs(v6.sin6_port);
      }
      address.resize(std::strlen(address.c_str()));
      ::send(server.get(), "!", 1, MSG_NOSIGNAL);  // it is accepted
      std::uint64_t nonce = 0;
      pollfd request{server.get(), POLLIN, 0};
      if (poll(&request, 1, 10'000) != 1) continue;
      if (recv(server.get(), &nonce, sizeof nonce, 0) != sizeof nonce) continue;

      const auto cookie = cookie_of(server.get());
      const auto result = adopt(address, port, listener_.port());
      if (result) {
        ++adopted;
        if (cookie_of(result->get()) != cookie) ++wrong;
        ::send(result->get(), &nonce, sizeof nonce, MSG_NOSIGNAL);
        if (!test::reads_eof(server.get())) ++touched;
      } else {
        ++refused;
        if (cause_of(result) == Cause::ambiguous) ++ambiguous;
        if (cookie_of(server.get()) != cookie) ++touched;
      }
    }
  }

  void come_and_go(unsigned seed, int connections) {
    std::mt19937 random(seed);
    std::optional<Endpoint> port;  // to come back from
    for (int i = 0; i < connections; ++i) {
      const auto nonce = std::uint64_t{seed} << 32 | static_cast<unsigned>(i);
      if (has_twins() && random() % 4 == 0) {
        come_twice(nonce);
        continue;
      }
      const Endpoint to(addresses_[random() % addresses_.size()], listener_.port());
      FileDescriptor client;
      try {
        const bool again = port && port->family() == to.family() && random() % 2 == 0;
        client = connect_to(to, again ? &*port : nullptr);
      } catch (const std::system_error&) {
        port.reset();  // still taken
        continue;
      }
      port = Endpoint::local_of(client.get());
      ask(client, nonce);
      const auto way = random() % 4;
      test::reset_on_close(client.get());  // so that the port is free for the next
      if (way != 0 && is_accepted(client)) hear(client, nonce);
    }
  }

  /// Stays connected while the same port is connected to the server's other address. Of the two
  /// each is answered what it asked, or not at all.
  void come_twice(std::uint64_t nonce) {
    const Endpoint any_port("127.0.0.1", 0);
    const auto other = nonce | std::uint64_t{1} << 31;
    FileDescriptor first;
    FileDescriptor second;
    try {
      first = connect_to(twins_[0], &any_port);
      const auto from = Endpoint::local_of(first.get());
      second = connect_to(twins_[1], &from);
    } catch (const std::system_error&) {
      return;  // the other clients have this port
    }
    // Both are there when either is searched for.
    if (!is_accepted(first) || !is_accepted(second)) return;
    ask(first, nonce);
    ask(second, other);
    hear(first, nonce);
    hear(second, other);
  }

  static bool is_accepted(const FileDescriptor& client) {
    return receive_exactly(client.get(), 1).size() == 1;
  }

  static void ask(const FileDescriptor& client, std::uint64_t nonce) {
    ::send(client.get(), &nonce, sizeof nonce, MSG_NOSIGNAL);
  }

  void hear(const FileDescriptor& client, std::uint64_t nonce) {
    const auto reply = receive_exactly(client.get(), sizeof nonce);
    if (reply.size() != sizeof nonce) return;
    std::uint64_t got = 0;
    std::memcpy(&got, reply.data(), sizeof got);
    ++answered;
    if (got != nonce) ++wrong;
  }

  /// The other work of the host.
  void churn(unsigned seed) {
    std::mt19937 random(seed);
    const Listener elsewhere;
    while (!done_) {
      std::vector<FileDescriptor> own;
      for (unsigned i = 0; i < random() % 20; ++i) {
        switch (random() % 3) {
          case 0:
            own.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
            break;
          case 1:
            own.emplace_back(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
            break;
          default:
            own.push_back(connect_to({"127.0.0.1", elsewhere.port()}));
            own.push_back(elsewhere.accept());
        }
      }
    }
  }

  Listener listener_;
  std::vector<std::string> addresses_;
  std::vector<Endpoint> twins_;  // those of IPv4
  std::atomic<bool> done_ = false;
};

void expect_no_mixup(LoadTest& load) {
  std::random_device device;
  const unsigned seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  load.run(seed, 400);
  EXPECT_EQ(load.wrong, 0);
  EXPECT_EQ(load.touched, 0);
  EXPECT_GT(load.adopted, 100);
  EXPECT_GT(load.answered, 100);
  if (load.has_twins()) {
    EXPECT_GT(load.ambiguous, 0);
  }
}

TEST(AdoptedSocket, IsNeverAnotherConnectionUnderLoadOnIPv4) {
  LoadTest load("0.0.0.0", false, {"127.0.0.1", "127.0.0.2"});
  expect_no_mixup(load);
}

// Among many descriptors, workers wait for a common search.
TEST(AdoptedSocket, IsNeverAnotherConnectionUnderLoadInAHostWithManyDescriptors) {
  std::vector<FileDescriptor> own;
  while (own.size() < 300) own.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
  LoadTest load("0.0.0.0", false, {"127.0.0.1", "127.0.0.2"});
  expect_no_mixup(load);
}

TEST(AdoptedSocket, IsNeverAnotherConnectionUnderLoadOnIPv6) {
  LoadTest load("::1", false, {"::1"});
  expect_no_mixup(load);
}

TEST(AdoptedSocket, IsNeverAnotherConnectionUnderLoadOnMappedAddresses) {
  LoadTest load("::", true, {"127.0.0.1", "127.0.0.2", "::1"});
  expect_no_mixup(load);
}

}  // namespace
}  // namespace waystation::test
