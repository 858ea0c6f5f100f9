#include "cluster/question_text.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/byte_reader.hpp"
#include "base/byte_writer.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

// Of the groups in an answer. What does not fit makes it partial.
constexpr std::size_t kMaxGroupsBytes = std::size_t{1} << 20;

/// `text` has at most 255 bytes.
void add_short_text(ByteWriter& out, std::string_view text) {
  out.u8(static_cast<std::uint8_t>(text.size()));
  out.text(text);
}

std::string_view read_short_text(ByteReader& in) {
  const auto size = in.u8();
  return in.text(size);
}

std::optional<std::int64_t> read_time(ByteReader& in) {
  const auto time = static_cast<std::int64_t>(in.u64());
  if (time < 0 || in.is_short()) return std::nullopt;
  return time;
}

}  // namespace

// ---- presence

std::string presence_answer_text(const UserPresence& found) {
  std::string body;
  ByteWriter out(body);
  out.u64(found.push_sockets);
  out.u8(0);
  for (const auto& group : found.groups) {
    if (body.size() > kMaxGroupsBytes) {
      body[8] = 1;
      break;
    }
    add_short_text(out, group);
  }
  return body;
}

bool add_presence_answer(std::string_view body, UserPresence& found) {
  ByteReader in(body);
  const auto push_sockets = in.u64();
  const bool is_cut = in.u8() != 0;
  if (in.is_short()) return false;
  found.push_sockets += push_sockets;
  found.is_partial = found.is_partial || is_cut;
  while (in.left() != 0 && !in.is_short()) {
    const auto group = read_short_text(in);
    if (parse_group(group)) found.groups.emplace_back(group);
  }
  return !in.is_short();
}

// ---- what a user missed

std::string missed_ask_text(std::string_view user, const MissedQuestion& question) {
  std::string body;
  ByteWriter out(body);
  add_short_text(out, user);
  out.u64(static_cast<std::uint64_t>(question.since));
  if (question.after) out.text(question.after->text());
  return body;
}

std::optional<MissedAsk> read_missed_ask(std::string_view body) {
  ByteReader in(body);
  MissedAsk ask;
  ask.user = read_short_text(in);
  const auto since = read_time(in);
  if (!since || !is_user_id(ask.user)) return std::nullopt;
  ask.question.since = *since;
  if (in.left() == 0) return ask;
  ask.question.after = MissedCursor::parse(in.text(in.left()));
  if (!ask.question.after) return std::nullopt;
  return ask;
}

std::string missed_answer_text(const MissedAnswer& answer) {
  std::string body;
  ByteWriter out(body);
  out.u8(answer ? 0 : 1);
  if (!answer) {
    out.u8(static_cast<std::uint8_t>(answer.error().code));
    return body;
  }
  out.u8(answer->complete ? 1 : 0);
  out.u64(answer->notifications);
  add_short_text(out, answer->next);
  for (const auto& sender : answer->from) {
    add_short_text(out, sender.user);
    out.u64(sender.count);
    out.u64(static_cast<std::uint64_t>(sender.first));
    out.u64(static_cast<std::uint64_t>(sender.last));
  }
  return body;
}

std::optional<MissedAnswer> read_missed_answer(std::string_view body) {
  ByteReader in(body);
  if (in.u8() != 0) {
    const auto code = in.u8();
    if (!in.is_complete() || code >= kErrorCodes) return std::nullopt;
    return missed_failure(static_cast<ErrorCode>(code));
  }
  Missed missed;
  missed.complete = in.u8() != 0;
  missed.notifications = in.u64();
  missed.next = read_short_text(in);
  while (in.left() != 0 && !in.is_short()) {
    auto& sender = missed.from.emplace_back();
    sender.user = read_short_text(in);
    sender.count = in.u64();
    const auto first = read_time(in);
    const auto last = read_time(in);
    if (!first || !last || !is_user_id(sender.user) || missed.from.size() > kMaxMissedSenders) {
      return std::nullopt;
    }
    sender.first = *first;
    sender.last = *last;
  }
  if (in.is_short()) return std::nullopt;
  return missed;
}

// ---- the list of users

std::string users_ask_text(std::string_view after, std::size_t limit) {
  std::string body;
  ByteWriter out(body);
  out.u16(static_cast<std::uint16_t>(limit));
  out.text(after);
  return body;
}

std::optional<UsersAsk> read_users_ask(std::string_view body) {
  ByteReader in(body);
  UsersAsk ask;
  ask.limit = in.u16();
  ask.after = in.text(in.left());
  if (in.is_short() || ask.limit == 0 || ask.limit > UserListing::kMaxLimit) return std::nullopt;
  if (!ask.after.empty() && !is_user_id(ask.after)) return std::nullopt;
  return ask;
}

std::string user_page_text(const std::optional<UserPage>& page) {
  const auto clamped = [](std::size_t count) {
    constexpr std::size_t kMax = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::min(count, kMax));
  };
  std::string body;
  ByteWriter out(body);
  out.u8(page ? 1 : 0);
  out.u8(page && page->has_more ? 1 : 0);
  if (!page) return body;
  for (const auto& user : page->users) {
    add_short_text(out, user.name.view());
    out.u32(clamped(user.push_sockets));
    out.u32(clamped(user.groups));
  }
  return body;
}

std::optional<UserPage> read_user_page(std::string_view body) {
  ByteReader in(body);
  UserPage page;
  page.is_partial = in.u8() == 0;
  page.has_more = in.u8() != 0;
  std::string_view last;
  while (in.left() != 0 && !in.is_short()) {
    const auto name = read_short_text(in);
    const auto push_sockets = in.u32();
    const auto groups = in.u32();
    if (!is_user_id(name) || name <= last || page.users.size() == UserListing::kMaxLimit) {
      return std::nullopt;
    }
    last = name;
    page.users.push_back({ShortText(name), push_sockets, groups, 1});
  }
  if (in.is_short()) return std::nullopt;
  return page;
}

}  // namespace waystation
