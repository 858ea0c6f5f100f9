#include "reactor/adopted_socket.hpp"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

#include "base/file_descriptor.hpp"
#include "base/mutex.hpp"

namespace waystation {
namespace {

using Cause = AdoptionFailure::Cause;

// Adopted sockets are numbered from here, where the limit allows it. The numbers below stay free
// for the server and for hosts that use select(), and the search stays short.
constexpr int kHighBase = 1024;
constexpr int kLimitForHighBase = 4096;
constexpr int kNumbersPerPoll = 1024;
// How far above the adopted ones the mark is put.
constexpr int kMarkDistance = 256;
// A run of at least so many numbers that are not adopted is looked up in the kernel's list, and one
// of adopted numbers is left out there. One look costs as much as a poll of about 200 numbers.
constexpr int kListedRun = 256;
// The lowest numbers are polled, since an entry of the list costs as much as 30 numbers of a poll:
// as many as are open, and these more, in multiples of kPerWord.
constexpr int kSparePolled = 32;
// The size of a list's entry with a number of up to seven digits.
constexpr std::size_t kListEntry = 32;
constexpr int kNoEnd = std::numeric_limits<int>::max();
// A search among so many open descriptors costs more than the wake-up of a thread.
constexpr int kManyOpen = 128;
// At most so many given descriptors are adopted between two counts of all descriptors.
constexpr std::int64_t kAdoptionsPerCount = 64;

/// Which descriptors of the process are adopted: a bit each, readable without a lock.
class AdoptedNumbers {
 public:
  // Numbers from here on are never adopted.
  static constexpr int kMax = 1 << 20;
  static constexpr int kPerWord = 64;

  bool contains(int fd) const noexcept { return fd < kMax && (word_of(fd) & bit(fd)) != 0; }
  /// The bits of `fd` and those that share its word, the lowest number's lowest.
  std::uint64_t word_of(int fd) const noexcept {
    return fd < kMax ? words_[index(fd)].load(std::memory_order_acquire) : 0;
  }
  /// The lowest number from `first` on, below `end`, that is adopted or not, as `adopted` says.
  /// `end` if there is none.
  int next(int first, int end, bool adopted) const noexcept {
    for (int fd = first; fd < end;) {
      const auto word = adopted ? word_of(fd) : ~word_of(fd);
      if (const auto rest = word >> (fd % kPerWord); rest != 0) {
        return std::min(fd + std::countr_zero(rest), end);
      }
      fd += kPerWord - fd % kPerWord;
    }
    return end;
  }
  void insert(int fd) noexcept {
    words_[index(fd)].fetch_or(bit(fd), std::memory_order_acq_rel);
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  void erase(int fd) noexcept {
    words_[index(fd)].fetch_and(~bit(fd), std::memory_order_acq_rel);
    count_.fetch_sub(1, std::memory_order_relaxed);
  }
  int count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  static std::size_t index(int fd) noexcept { return static_cast<std::size_t>(fd / kPerWord); }
  static std::uint64_t bit(int fd) noexcept { return std::uint64_t{1} << (fd % kPerWord); }
  std::array<std::atomic<std::uint64_t>, kMax / kPerWord> words_{};
  std::atomic<int> count_ = 0;
};

constinit AdoptedNumbers adopted_numbers;

AddressBytes mapped(const in_addr& address) noexcept {
  AddressBytes bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  std::memcpy(bytes.data() + 12, &address, 4);
  return bytes;
}

std::optional<AddressBytes> parse_address(std::string_view text) {
  const std::string address(text.substr(0, text.find('%')));  // without an IPv6 scope
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return mapped(v4);
  AddressBytes v6{};
  if (inet_pton(AF_INET6, address.c_str(), v6.data()) == 1) return v6;
  return std::nullopt;
}

struct Endpoint {
  AddressBytes address{};
  std::uint16_t port = 0;
};

std::optional<Endpoint> read_endpoint(const sockaddr_storage& storage) noexcept {
  Endpoint endpoint;
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    endpoint.address = mapped(v4.sin_addr);
    endpoint.port = ntohs(v4.sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    std::memcpy(endpoint.address.data(), &v6.sin6_addr, 16);
    endpoint.port = ntohs(v6.sin6_port);
  } else {
    return std::nullopt;
  }
  return endpoint;
}

/// A search could not examine a descriptor. It may be a second match, so nothing is adopted.
struct SearchFailed {
  const char* call;
  int error;
};

/// Throws SearchFailed unless errno says that a descriptor cannot be a connection of the server. It
/// may be no socket, not connected, of another family, or closed meanwhile. It may also belong to
/// another program: inherited from the parent, and forbidden by a security module.
void require_other_descriptor(const char* call) {
  switch (errno) {
    case EBADF:
    case ENOTSOCK:
    case ENOTCONN:
    case EOPNOTSUPP:
    case ENOPROTOOPT:
    case EINVAL:
    case EACCES:
    case EPERM:
      return;
    default:
      throw SearchFailed{call, errno};
  }
}

/// Empty for what is no socket of TCP. Throws SearchFailed.
std::optional<Endpoint> own_endpoint(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    require_other_descriptor("getsockname");
    return std::nullopt;
  }
  return read_endpoint(storage);
}

bool is_connected(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  return getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) == 0;
}

/// The peer of a socket, also after the peer has reset the connection. Throws SearchFailed.
std::optional<Endpoint> peer_endpoint(int fd) {
  // SO_PEERNAME copies as many bytes as there is room for, and fails if the address is shorter. An
  // address of IPv4 is the shortest, and begins with the family as all do.
  for (const socklen_t length : {socklen_t{sizeof(sockaddr_in)}, socklen_t{sizeof(sockaddr_in6)}}) {
    sockaddr_storage storage{};
    socklen_t size = length;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &storage, &size) != 0) {
      require_other_descriptor("getsockopt");
      return std::nullopt;
    }
    const bool is_whole = storage.ss_family != AF_INET6 || length == sizeof(sockaddr_in6);
    if (is_whole) return read_endpoint(storage);
  }
  return std::nullopt;
}

int socket_option(int fd, int option) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

/// A number that no other open socket of this machine has, and no earlier one with SO_COOKIE. 0 if
/// there is none.
std::uint64_t identity_of(int fd) noexcept {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0) return cookie;
  struct stat status {};
  return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

/// Empty for all but TCP connections, and where a system call fails.
std::optional<OpenConnection> tcp_connection(int fd) noexcept {
  if (socket_option(fd, SO_TYPE) != SOCK_STREAM || socket_option(fd, SO_PROTOCOL) != IPPROTO_TCP) {
    return std::nullopt;
  }
  try {
    const auto local = own_endpoint(fd);
    if (!local) return std::nullopt;
    const auto peer = peer_endpoint(fd);
    const auto identity = identity_of(fd);
    if (!peer || identity == 0) return std::nullopt;
    return OpenConnection{fd, identity, {peer->address, peer->port, local->port}};
  } catch (const SearchFailed&) {
    return std::nullopt;
  }
}

/// Whether this process, and not the peer, has ended the reading side of a TCP connection.
bool is_ended_here(int fd) noexcept {
  pollfd ended{fd, POLLRDHUP, 0};
  if (poll(&ended, 1, 0) != 1 || (ended.revents & (POLLRDHUP | POLLHUP)) == 0) return false;
  tcp_info info{};
  socklen_t size = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         info.tcpi_state != TCP_CLOSE_WAIT;
}

struct CloseFolder {
  // Nothing is written through it, so that no failure to close it loses anything.
  void operator()(DIR* folder) const noexcept { (void)closedir(folder); }
};

/// A number's position in /proc/self/fd is two more than itself: "." and ".." come first.
constexpr off_t list_position(int fd) noexcept {
  return off_t{fd} + 2;
}

/// The numbers of all open descriptors but the adopted ones. Throws std::bad_alloc.
Result<std::vector<int>, std::error_code> own_descriptors() {
  const auto failed = [] { return std::error_code(errno, std::system_category()); };
  const std::unique_ptr<DIR, CloseFolder> list(opendir("/proc/self/fd"));
  if (list == nullptr) return failed();
  std::vector<int> numbers;
  for (;;) {
    errno = 0;
    const auto* const entry = readdir(list.get());
    if (entry == nullptr) break;
    const std::string_view name(entry->d_name);
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    if (fd < 0) continue;
    if (!adopted_numbers.contains(fd)) {
      numbers.push_back(fd);
    } else if (const int next = adopted_numbers.next(fd, AdoptedNumbers::kMax, false);
               next - fd >= kListedRun) {
      seekdir(list.get(), list_position(next));
    }
  }
  if (errno != 0) return failed();
  return numbers;
}

AdoptionFailure failure(Cause cause, std::string detail) {
  return {cause, std::move(detail)};
}

AdoptionFailure system_failure(const std::string& what, int error = errno) {
  return failure(error == EMFILE || error == ENFILE ? Cause::exhausted : Cause::failed,
                 what + ": " + std::system_category().message(error));
}

/// The limit on this process's descriptor numbers, as far as we keep track of them.
int descriptor_limit() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kHighBase;  // the usual limit
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, AdoptedNumbers::kMax));
}

/// A number above all that are in use: the size of the kernel's descriptor table. Without /proc it
/// is the limit, which takes longer to search.
int descriptor_table_size(int limit) noexcept {
  constexpr std::string_view kField = "\nFDSize:";
  const FileDescriptor status(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer;
  const auto size = status ? ::read(status.get(), buffer.data(), buffer.size()) : -1;
  if (size > 0) {
    const std::string_view text(buffer.data(), static_cast<std::size_t>(size));
    if (const auto at = text.find(kField); at != std::string_view::npos) {
      auto rest = text.substr(at + kField.size());
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
      int numbers = 0;
      std::from_chars(rest.data(), rest.data() + rest.size(), numbers);
      if (numbers > 0) return numbers;
    }
  }
  return limit;
}

}  // namespace

/// Searches and adopts. One per process, like the descriptors.
class Adopter {
 public:
  Adopter() { candidates_.reserve(kNumbersPerPoll); }

  static Adopter& instance() {
    // Never destroyed: sockets may still be adopted while the process ends.
    static auto* const adopter = std::make_unique<Adopter>().release();
    return *adopter;
  }

  Result<AdoptedSocket, AdoptionFailure> adopt(const AdoptionTarget& target) {
    if (target.descriptor >= 0) return adopt_given(target);
    const auto ends = parse_ends(target.remote_address, target.remote_port, target.local_port);
    if (!ends) {
      return failure(Cause::unsupported,
                     "only TCP connections can be taken over; the peer has no IP address");
    }
    Wanted wanted{*ends};
    {
      const MutexLock lock(waiting_mutex_);
      wanted.next = std::exchange(waiting_, &wanted);
    }
    const MutexLock lock(search_);
    const int limit = descriptor_limit();
    // Where a search is expensive, nobody starts one before all have fetched what the last one
    // found. They come back with their next connections, and so one search is for as many as
    // possible.
    while (!wanted.is_searched && unfetched_ > 0 && last_open_ >= kManyOpen) turn_.wait(search_);
    if (!wanted.is_searched) search_for_waiting(limit);
    // `wanted` is not on the list from here on.
    if (--unfetched_ == 0) turn_.notify_one();
    if (wanted.failed) return search_failure(*wanted.failed);
    if (!leaves(target.descriptor_reserve, wanted.open, limit)) return too_few(limit);
    if (wanted.matches == 0) return failure(Cause::not_found, "the connection was not found");
    if (wanted.matches > 1) {
      return failure(Cause::ambiguous,
                     "one client port is connected to this server more than once, and the "
                     "connections cannot be told apart");
    }
    if (!wanted.is_connected) return gone();
    return take_from_server(wanted.fd, limit);
  }

  Result<GatedSocket, AdoptionFailure> adopt_gated(const AdoptionTarget& target) {
    const MutexLock lock(search_);
    try {
      return adopt_with_gate(target, descriptor_limit());
    } catch (const SearchFailed& failed) {
      return search_failure(failed);
    }
  }

  Result<AdoptedSocket, AdoptionFailure> adopt_own(FileDescriptor& descriptor,
                                                   std::uint32_t reserve) {
    const MutexLock lock(search_);
    const int limit = descriptor_limit();
    try {
      if (auto checked = check_given(descriptor.get(), reserve, limit); !checked) {
        return std::move(checked.error());
      }
    } catch (const SearchFailed& failed) {
      return search_failure(failed);
    }
    auto taken = take(descriptor.get(), limit);
    if (!taken) return taken;
    descriptor.reset();
    close_without_waiting(taken->get());
    return taken;
  }

  bool has_descriptors(std::uint32_t reserve) {
    const MutexLock lock(search_);
    const int limit = descriptor_limit();
    try {
      return leaves(reserve, search(nullptr, limit), limit);
    } catch (const SearchFailed&) {
      return false;
    }
  }

  bool shut_down(const OpenConnection& connection, int how) noexcept {
    // So that no socket is ended after its adoption was decided.
    const MutexLock lock(search_);
    // The number may belong to another connection at any moment; a duplicate cannot.
    const FileDescriptor ours(
        fcntl(connection.descriptor, F_DUPFD_CLOEXEC, first_number(descriptor_limit())));
    return ours && !adopted_numbers.contains(connection.descriptor) &&
           identity_of(ours.get()) == connection.identity && ::shutdown(ours.get(), how) == 0;
  }

 private:
  /// A connection that a thread waits for, and what a search found.
  struct Wanted {
    ConnectionEnds ends;
    Wanted* next = nullptr;  // on the list of those that wait, or of those searched for
    bool is_searched = false;
    std::optional<SearchFailed> failed{};
    int open = 0;  // all descriptors but the adopted ones
    int matches = 0;
    int fd = -1;  // the last match
    bool is_connected = false;
  };

  /// Whether `reserve` of the limit stay free, with all adopted ones and `others` open.
  static bool leaves(std::uint32_t reserve, int others, int limit) noexcept {
    return std::int64_t{adopted_numbers.count()} + others + reserve <= limit;
  }

  static AdoptionFailure search_failure(const SearchFailed& failed) {
    return system_failure(
        "the descriptors in use cannot be searched with " + std::string(failed.call), failed.error);
  }

  static AdoptionFailure too_few(int limit) {
    return failure(Cause::exhausted, "too few descriptors are left of the " +
                                         std::to_string(limit) + " this process may open");
  }

  Result<void, AdoptionFailure> open_dead_socket() WAYSTATION_REQUIRES(search_) {
    std::array<int, 2> pair{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
      return system_failure("no socket pair");
    }
    const FileDescriptor peer(pair[1]);
    FileDescriptor low(pair[0]);
    const int high = fcntl(low.get(), F_DUPFD_CLOEXEC, first_number(descriptor_limit()));
    if (high < 0) return system_failure("no descriptor");
    dead_ = FileDescriptor(high);
    return {};
  }

  static int first_number(int limit) noexcept { return limit >= kLimitForHighBase ? kHighBase : 0; }

  /// Whether `reserve` stay free when one more is adopted. Throws SearchFailed.
  bool keeps_reserve(std::uint32_t reserve, int limit) WAYSTATION_REQUIRES(search_) {
    // A smaller limit or a larger reserve makes an earlier count worthless.
    if (until_count_ > 0 && limit >= counted_limit_ && reserve <= counted_reserve_) {
      --until_count_;
      return true;
    }
    const int others = search(nullptr, limit);  // may open the list, which counts as adopted
    const std::int64_t in_use = std::int64_t{adopted_numbers.count()} + others;
    const std::int64_t left = limit - in_use - reserve;
    // The host may open descriptors meanwhile, so only half of them are counted on.
    until_count_ = std::clamp<std::int64_t>(left / 2, 0, kAdoptionsPerCount);
    counted_limit_ = limit;
    counted_reserve_ = reserve;
    return left >= 0;
  }

  Result<AdoptedSocket, AdoptionFailure> adopt_given(const AdoptionTarget& target) {
    const MutexLock lock(search_);
    const int limit = descriptor_limit();
    // What stays open is open before the descriptors are counted.
    if (!dead_) {
      if (auto opened = open_dead_socket(); !opened) return std::move(opened.error());
    }
    try {
      auto checked = check_given(target.descriptor, target.descriptor_reserve, limit);
      if (!checked) return std::move(checked.error());
    } catch (const SearchFailed& failed) {
      return search_failure(failed);
    }
    return take_from_server(target.descriptor, limit);
  }

  /// Takes the connection, and leaves the dead socket under the server's number.
  Result<AdoptedSocket, AdoptionFailure> take_from_server(int fd, int limit)
      WAYSTATION_REQUIRES(search_) {
    if (!dead_) {
      if (auto opened = open_dead_socket(); !opened) return std::move(opened.error());
    }
    if (is_ended_here(fd)) return ended_here();
    return take_and_leave(fd, dead_.get(), limit);
  }

  /// Takes the connection, and leaves `replacement` under the server's number.
  Result<AdoptedSocket, AdoptionFailure> take_and_leave(int fd, int replacement, int limit)
      WAYSTATION_REQUIRES(search_) {
    auto taken = take(fd, limit);
    if (!taken) return taken;
    if (dup3(replacement, fd, O_CLOEXEC) < 0) {
      // Nothing was taken: the duplicate closes, the server keeps its own.
      return system_failure("the server's descriptor cannot be replaced");
    }
    close_without_waiting(taken->get());
    return taken;
  }

  /// Throws SearchFailed.
  Result<GatedSocket, AdoptionFailure> adopt_with_gate(const AdoptionTarget& target, int limit)
      WAYSTATION_REQUIRES(search_) {
    const int fd = target.descriptor;
    auto checked = check_given(fd, target.descriptor_reserve, limit);
    if (!checked) return std::move(checked.error());
    const auto connection = tcp_connection(fd);
    const auto ends = parse_ends(target.remote_address, target.remote_port, target.local_port);
    if (!connection || !ends || connection->ends != *ends) {
      return failure(Cause::unsupported, "the TLS session is not that of the request's connection");
    }
    if (is_ended_here(fd)) return ended_here();
    std::array<int, 2> pair{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
      return system_failure("no socket pair");
    }
    FileDescriptor gate(pair[0]);
    const FileDescriptor servers(pair[1]);
    auto taken = take_and_leave(fd, servers.get(), limit);
    if (!taken) return std::move(taken.error());
    return GatedSocket{std::move(*taken), std::move(gate)};
  }

  // The client would get a 101, and then the end of the stream.
  static AdoptionFailure ended_here() {
    return failure(Cause::not_found, "the server has ended the connection because it was slow");
  }

  /// One search for all that wait. A connection that is waited for is open until its thread has its
  /// turn, so it is among the matches: a single match is the connection itself.
  void search_for_waiting(int limit) noexcept WAYSTATION_REQUIRES(search_) {
    Wanted* first = nullptr;
    {
      const MutexLock lock(waiting_mutex_);
      first = std::exchange(waiting_, nullptr);
    }
    int open = 0;
    std::optional<SearchFailed> failed;
    try {
      open = search(first, limit);
    } catch (const SearchFailed& problem) {
      failed = problem;
    }
    for (auto* each = first; each != nullptr; each = each->next) {
      each->open = open;
      each->failed = failed;
      each->is_searched = true;
      ++unfetched_;
    }
    turn_.notify_all();
  }

  /// Counts all open descriptors that are not adopted, and the matches of all on the list `wanted`,
  /// which may be empty. It does not stop at the first match, because there may be a second.
  /// Throws SearchFailed.
  int search(Wanted* wanted, int limit) WAYSTATION_REQUIRES(search_) {
    std::optional<int> open;
    if (open_list() && place_mark()) open = search_numbers(wanted, limit, true);
    if (!open) open = search_numbers(wanted, limit, false);
    // A process gets the lowest free number, so that there are few others above these.
    const int polled = *open + kSparePolled + AdoptedNumbers::kPerWord - 1;
    polled_low_ = std::min(polled - polled % AdoptedNumbers::kPerWord, kHighBase);
    last_open_ = *open;
    return *open;
  }

  /// As search(). Without the list, it polls all numbers. With it, long runs of numbers that are
  /// hardly ever open are looked up there; empty if the list is not reliable.
  std::optional<int> search_numbers(Wanted* wanted, int limit, bool with_list)
      WAYSTATION_REQUIRES(search_) {
    for (auto* each = wanted; each != nullptr; each = each->next) each->matches = 0;
    candidates_.clear();
    // One poll() tells which numbers are open, at a lower cost than a call for each. It accepts no
    // more numbers than the process may open.
    const auto most = static_cast<std::size_t>(std::clamp(limit, 1, kNumbersPerPoll));
    const int end = with_list ? highest_ + 1 : descriptor_table_size(limit);
    int open = 0;
    // Each turn searches one run of numbers that are not adopted. Adopted ones may close meanwhile;
    // it does not matter whether those are searched.
    for (int first = 0; first < end;) {
      first = adopted_numbers.next(first, end, false);
      const int last = adopted_numbers.next(first, end, true);
      // The list has the end of the last run, beyond the mark.
      const bool is_listed = with_list && (last == end || last - first >= kListedRun);
      int poll_end = last;
      if (is_listed) poll_end = first == 0 ? std::min({polled_low_, last, dead_.get()}) : first;
      for (int fd = first; fd < poll_end; ++fd) {
        candidates_.push_back({fd, 0, 0});
        if (candidates_.size() == most) open += match_candidates(wanted);
      }
      if (is_listed) {
        const auto listed = match_listed(poll_end, last == end ? kNoEnd : last, wanted);
        if (!listed) return std::nullopt;
        open += *listed;
      }
      first = last;
    }
    return open + match_candidates(wanted);
  }

  /// Puts the mark above all numbers that were ever adopted. False if it cannot be there.
  bool place_mark() WAYSTATION_REQUIRES(search_) {
    if (dead_.get() <= highest_) {
      FileDescriptor higher(fcntl(dead_.get(), F_DUPFD_CLOEXEC, highest_ + kMarkDistance));
      if (higher) dead_ = std::move(higher);
    }
    return dead_.get() > highest_;
  }

  /// Opens the kernel's list of this process's descriptors, which stays open. False if there is
  /// none.
  bool open_list() WAYSTATION_REQUIRES(search_) {
    // A child process inherits the list of its parent.
    const auto process = getpid();
    if (list_ && list_of_ == process) return true;
    if (list_) adopted_numbers.erase(list_.get());
    const FileDescriptor low(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    list_ = FileDescriptor(fcntl(low.get(), F_DUPFD_CLOEXEC, first_number(descriptor_limit())));
    list_of_ = process;
    if (list_.get() >= AdoptedNumbers::kMax) list_.reset();
    if (list_)
      record(list_.get());  // among the adopted ones, it would be in the way of each search
    return static_cast<bool>(list_);
  }

  /// No search looks at this number.
  void record(int fd) WAYSTATION_REQUIRES(search_) {
    adopted_numbers.insert(fd);
    highest_ = std::max(highest_, fd);
  }

  /// Counts the open numbers from `first` on, below `end`, and collects those that match. Only the
  /// kernel's list is asked. It must go on beyond `end`, or contain the mark; otherwise it is not
  /// reliable, and the result is empty. Throws SearchFailed.
  std::optional<int> match_listed(int first, int end, Wanted* wanted) WAYSTATION_REQUIRES(search_) {
    if (lseek(list_.get(), list_position(first), SEEK_SET) < 0) return std::nullopt;
    int open = 0;
    bool has_mark = false;
    // One at first: usually an adopted number comes next, or the mark, and each entry has its cost.
    for (std::size_t size = kListEntry;; size = std::min(2 * size, list_buffer_.size())) {
      const auto got = getdents64(list_.get(), list_buffer_.data(), size);
      if (got < 0) return std::nullopt;
      if (got == 0) return has_mark && end == kNoEnd ? std::optional(open) : std::nullopt;
      for (std::string_view rest(list_buffer_.data(), static_cast<std::size_t>(got));
           !rest.empty();) {
        std::uint16_t length = 0;
        std::memcpy(&length, rest.data() + offsetof(dirent64, d_reclen), sizeof length);
        int fd = -1;
        std::from_chars(rest.data() + offsetof(dirent64, d_name), rest.data() + length, fd);
        rest.remove_prefix(length);
        if (fd < first) return std::nullopt;
        if (fd >= end) return open;
        first = fd + 1;
        has_mark |= fd == dead_.get();
        ++open;
        match(fd, wanted);
      }
    }
  }

  int match_candidates(Wanted* wanted) WAYSTATION_REQUIRES(search_) {
    while (poll(candidates_.data(), candidates_.size(), 0) < 0) {
      if (errno != EINTR) throw SearchFailed{"poll", errno};
    }
    int open = 0;
    for (const auto& candidate : candidates_) {
      if ((candidate.revents & POLLNVAL) != 0) continue;
      ++open;
      match(candidate.fd, wanted);
    }
    candidates_.clear();
    return open;
  }

  static void match(int fd, Wanted* wanted) {
    if (wanted == nullptr) return;
    // getpeername() fails after the peer has reset the connection. Such a connection may still be
    // the wanted one: another connection from the same client port then belongs to another client.
    const auto peer = peer_endpoint(fd);
    if (!peer) return;
    std::optional<Endpoint> local;
    for (auto* each = wanted; each != nullptr; each = each->next) {
      if (peer->port != each->ends.peer_port || peer->address != each->ends.peer) continue;
      if (!local) local = own_endpoint(fd);
      if (!local) return;
      if (local->port != each->ends.local_port) continue;
      ++each->matches;
      each->fd = fd;
      each->is_connected = is_connected(fd);
    }
  }

  /// Whether `fd` is a connected stream socket that was not adopted before, and leaves the reserve.
  /// Throws SearchFailed.
  Result<void, AdoptionFailure> check_given(int fd, std::uint32_t reserve, int limit)
      WAYSTATION_REQUIRES(search_) {
    if (fd >= 0 && adopted_numbers.contains(fd)) {
      return failure(Cause::failed, "the descriptor is one that was taken over before");
    }
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
      if (errno == ENOTSOCK) return failure(Cause::unsupported, "the descriptor is no socket");
      return system_failure("the descriptor cannot be used");
    }
    if (type != SOCK_STREAM) {
      return failure(Cause::unsupported, "the descriptor is not a stream socket");
    }
    if (!is_connected(fd)) return gone();
    if (!keeps_reserve(reserve, limit)) return too_few(limit);
    return {};
  }

  static AdoptionFailure gone() {
    return failure(Cause::not_found, "the connection's peer has gone");
  }

  /// A duplicate of `fd`, on record as adopted.
  Result<AdoptedSocket, AdoptionFailure> take(int fd, int limit) WAYSTATION_REQUIRES(search_) {
    const int ours = fcntl(fd, F_DUPFD_CLOEXEC, first_number(limit));
    if (ours < 0) return system_failure("the connection's descriptor cannot be duplicated");
    if (ours >= AdoptedNumbers::kMax) {
      (void)::close(ours);  // the connection stays open under the server's number
      return failure(Cause::exhausted, "descriptor numbers beyond a million are not kept track of");
    }
    record(ours);
    return AdoptedSocket(ours);
  }

  Mutex search_;  // no two searches overlap
  // The dead socket. Its number is also the mark, usually above all adopted ones: a list of all
  // numbers up to the end contains it.
  FileDescriptor dead_ WAYSTATION_GUARDED_BY(search_);
  FileDescriptor list_ WAYSTATION_GUARDED_BY(search_);  // /proc/self/fd of the process list_of_
  pid_t list_of_ WAYSTATION_GUARDED_BY(search_) = 0;
  alignas(dirent64) std::array<char, 4096> list_buffer_ WAYSTATION_GUARDED_BY(search_){};
  int polled_low_ WAYSTATION_GUARDED_BY(search_) = AdoptedNumbers::kPerWord;
  int highest_ WAYSTATION_GUARDED_BY(search_) = 0;  // number that was ever adopted
  // For given descriptors: how many more rely on the last count, and what that was made for.
  std::int64_t until_count_ WAYSTATION_GUARDED_BY(search_) = 0;
  int counted_limit_ WAYSTATION_GUARDED_BY(search_) = 0;
  std::uint32_t counted_reserve_ WAYSTATION_GUARDED_BY(search_) = 0;
  std::vector<pollfd> candidates_ WAYSTATION_GUARDED_BY(search_);
  int last_open_ WAYSTATION_GUARDED_BY(search_) = 0;  // descriptors that the last search counted
  int unfetched_ WAYSTATION_GUARDED_BY(search_) = 0;  // results of the last search
  Condition turn_;                                    // of those that wait for a search
  Mutex waiting_mutex_;                               // taken while search_ is held, or alone
  Wanted* waiting_ WAYSTATION_GUARDED_BY(waiting_mutex_) = nullptr;
};

void AdoptedSocket::reset() noexcept {
  if (fd_ < 0) return;
  // Forgotten before it is closed: the number may be the server's again at once.
  adopted_numbers.erase(fd_);
  (void)::close(std::exchange(fd_, -1));  // on Linux it is closed, whatever is returned
}

Result<AdoptedSocket, AdoptionFailure> AdoptedSocket::from(FileDescriptor& descriptor,
                                                           std::uint32_t reserve) {
  return Adopter::instance().adopt_own(descriptor, reserve);
}

bool has_descriptors(std::uint32_t reserve) {
  return Adopter::instance().has_descriptors(reserve);
}

void close_without_waiting(int socket) noexcept {
  const linger off{0, 0};
  // Fails only for descriptors that are no sockets.
  (void)setsockopt(socket, SOL_SOCKET, SO_LINGER, &off, sizeof off);
}

Result<AdoptedSocket, AdoptionFailure> adopt_socket(const AdoptionTarget& target) {
  return Adopter::instance().adopt(target);
}

Result<GatedSocket, AdoptionFailure> adopt_gated(const AdoptionTarget& target) {
  return Adopter::instance().adopt_gated(target);
}

bool give_back(GatedSocket& socket, int descriptor) noexcept {
  if (dup3(socket.socket.get(), descriptor, O_CLOEXEC) < 0) return false;
  socket.socket.reset();
  socket.gate.reset();
  return true;
}

Result<std::vector<OpenConnection>, std::error_code> open_connections(
    std::span<const std::uint16_t> local_ports, std::size_t more_than) {
  // No lock: a descriptor that changes meanwhile is no harm, since shut_down() checks what it ends.
  const auto numbers = own_descriptors();
  if (!numbers) return numbers.error();
  std::vector<OpenConnection> found;
  if (numbers->size() <= more_than) return found;
  for (const int fd : *numbers) {
    const auto connection = tcp_connection(fd);
    if (!connection) continue;
    if (std::ranges::find(local_ports, connection->ends.local_port) == local_ports.end()) continue;
    found.push_back(*connection);
  }
  return found;
}

bool shut_down(const OpenConnection& connection, int how) noexcept {
  return Adopter::instance().shut_down(connection, how);
}

std::optional<ConnectionEnds> parse_ends(std::string_view remote_address, std::uint16_t remote_port,
                                         std::uint16_t local_port) {
  const auto address = parse_address(remote_address);
  if (!address) return std::nullopt;
  return ConnectionEnds{*address, remote_port, local_port};
}

}  // namespace waystation
