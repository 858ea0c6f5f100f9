// The users who are here, ordered by name, a page at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "relay/directory.hpp"
#include "relay/envelope.hpp"
#include "relay/scheduler.hpp"

namespace waystation {

/// A user with a socket.
struct ListedUser {
  ShortText name;
  std::size_t push_sockets = 0;
  std::size_t groups = 0;  // in which they are present, counted on each node; anonymous sockets do
                           // not count
  std::size_t nodes = 1;   // on which they have a socket
};

struct UserPage {
  std::vector<ListedUser> users;  // by name
  bool has_more = false;          // users with greater names
  bool is_partial = false;        // a node did not answer
};

/// Puts pages of different nodes together, all of which were asked for the same `limit`. Each
/// page's users up to its last are all users of its node, so the first `limit` of both pages are
/// known. Throws std::bad_alloc.
UserPage merge_pages(const UserPage& one, const UserPage& other, std::size_t limit);

/// Answers questions for pages one after the other. The directory is not ordered, so that joining
/// costs nothing for it: a page is read from all users, kStepUsers in each call of run(), and the
/// names that fit are kept in a heap. A user who comes or goes meanwhile may be in the page or not;
/// all others are, with the numbers of the moment at which they were read.
///
/// One thread.
class UserListing {
 public:
  static constexpr std::size_t kMaxLimit = 1000;
  /// What one call of run() reads at most: so many users, and so many buckets of the directory.
  static constexpr std::size_t kStepUsers = 1000;
  static constexpr std::size_t kStepBuckets = 8192;

  /// Receives the page, once. Nothing: it was not read in time.
  using Answer = std::function<void(std::optional<UserPage>)>;

  /// Both must outlive this object.
  UserListing(const Directory& directory, Scheduler& scheduler) noexcept
      : directory_(directory), scheduler_(scheduler) {}

  /// Asks for the first `limit` users, 1 to kMaxLimit, whose names are greater than `after`, byte
  /// by byte. `after` has at most kMaxUserBytes. The answer comes from run(). Throws
  /// std::bad_alloc, and there is no answer.
  void list(std::string_view after, std::size_t limit, std::int64_t until_ms, Answer answer);

  /// For the scheduler.
  void run() noexcept;

 private:
  struct Question {
    ShortText after;
    std::size_t limit;
    std::int64_t until_ms;
    Answer answer;
    std::vector<ListedUser> found;  // a heap, the greatest name first; one more than the limit
    std::size_t buckets = 0;        // of the directory, when the reading began
    std::size_t next_bucket = 0;
  };

  bool read_some(Question& question) const noexcept;
  static void consider(Question& question, const User& user) noexcept;
  static UserPage page_of(Question& question) noexcept;

  const Directory& directory_;
  Scheduler& scheduler_;
  std::deque<Question> questions_;
};

}  // namespace waystation
