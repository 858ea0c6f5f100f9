// The bodies of questions to all nodes, and of their answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "relay/directory.hpp"
#include "relay/missed.hpp"
#include "relay/user_listing.hpp"

namespace waystation {

/// The first byte of a question. Nodes do not answer kinds that they do not know.
enum class QuestionKind : std::uint8_t {
  presence = 1,      // then the user
  end_sessions = 2,  // likewise
  missed = 3,        // then a MissedAsk
  list_users = 4,    // then a UsersAsk
};

/// The question what a user missed.
struct MissedAsk {
  std::string user;
  MissedQuestion question;
};

/// The question for a page of users.
struct UsersAsk {
  std::string_view after;  // empty: from the first
  std::size_t limit = 0;
};

// Each of these appends nothing but what its reader reads. Numbers are in network byte order. They
// throw std::bad_alloc. The readers check every length and name; nothing: the text is malformed.

/// u64 push sockets, u8 1 if groups were left out, then the groups: u8 size and name.
std::string presence_answer_text(const UserPresence& found);
/// Adds it to `found`, whose is_partial is then set if groups were left out. False: malformed.
bool add_presence_answer(std::string_view body, UserPresence& found);

/// u8 size and user, u64 since, and the cursor's text if there is one.
std::string missed_ask_text(std::string_view user, const MissedQuestion& question);
std::optional<MissedAsk> read_missed_ask(std::string_view body);

/// u8 1 and u8 error code; or u8 0, u8 1 if it is complete, u64 notifications, u8 size and the
/// cursor, and for each sender u8 size and name, u64 count, u64 first, u64 last.
std::string missed_answer_text(const MissedAnswer& answer);
std::optional<MissedAnswer> read_missed_answer(std::string_view body);

/// u16 limit and the name after which the page begins.
std::string users_ask_text(std::string_view after, std::size_t limit);
std::optional<UsersAsk> read_users_ask(std::string_view body);

/// u8 1 if it was read in time, u8 1 if there are more users, and for each user u8 size and name,
/// u32 push sockets, u32 groups. Not read in time: is_partial.
std::string user_page_text(const std::optional<UserPage>& page);
std::optional<UserPage> read_user_page(std::string_view body);

}  // namespace waystation
