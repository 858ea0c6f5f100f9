#include "relay/user_listing.hpp"

#include <algorithm>
#include <utility>

namespace waystation {
namespace {

bool has_smaller_name(const ListedUser& a, const ListedUser& b) noexcept {
  return a.name.view() < b.name.view();
}

}  // namespace

UserPage merge_pages(const UserPage& one, const UserPage& other, std::size_t limit) {
  UserPage merged;
  merged.has_more = one.has_more || other.has_more;
  merged.is_partial = one.is_partial || other.is_partial;
  merged.users.reserve(std::min(limit, one.users.size() + other.users.size()));
  auto left = one.users.begin();
  auto right = other.users.begin();
  while (left != one.users.end() || right != other.users.end()) {
    if (merged.users.size() == limit) {
      merged.has_more = true;
      break;
    }
    if (right == other.users.end() ||
        (left != one.users.end() && has_smaller_name(*left, *right))) {
      merged.users.push_back(*left++);
    } else if (left == one.users.end() || has_smaller_name(*right, *left)) {
      merged.users.push_back(*right++);
    } else {
      auto user = *left++;
      user.push_sockets += right->push_sockets;
      user.groups += right->groups;
      user.nodes += right->nodes;
      merged.users.push_back(user);
      ++right;
    }
  }
  return merged;
}

void UserListing::list(std::string_view after, std::size_t limit, std::int64_t until_ms,
                       Answer answer) {
  Question question{ShortText(after), limit, until_ms, std::move(answer), {}};
  question.found.reserve(limit + 1);
  questions_.push_back(std::move(question));
  scheduler_.run_at(scheduler_.now().steady_ms);
}

void UserListing::run() noexcept {
  if (questions_.empty()) return;
  const auto now_ms = scheduler_.now().steady_ms;
  auto& question = questions_.front();
  std::optional<UserPage> page;
  const bool is_late = now_ms >= question.until_ms;
  if (!is_late && read_some(question)) page = page_of(question);
  if (is_late || page) {
    const auto answer = std::move(question.answer);
    questions_.pop_front();
    answer(std::move(page));
  }
  if (!questions_.empty()) scheduler_.run_at(now_ms);
}

/// Reads the next users. True: those were the last.
bool UserListing::read_some(Question& question) const noexcept {
  if (const auto buckets = directory_.user_buckets(); buckets != question.buckets) {
    // The first step, or the directory grew, and users changed their buckets.
    question.buckets = buckets;
    question.next_bucket = 0;
    question.found.clear();
  }
  std::size_t users = 0;
  const auto end = std::min(question.buckets, question.next_bucket + kStepBuckets);
  while (question.next_bucket != end && users < kStepUsers) {
    directory_.visit_users(question.next_bucket++, [&](const User& user) {
      consider(question, user);
      ++users;
    });
  }
  return question.next_bucket == question.buckets;
}

void UserListing::consider(Question& question, const User& user) noexcept {
  if (user.push.empty() && user.groups_present == 0) return;
  if (user.name() <= question.after.view()) return;
  auto& found = question.found;
  const ListedUser listed{ShortText(user.name()), user.push.size(), user.groups_present, 1};
  if (found.size() > question.limit) {
    if (!has_smaller_name(listed, found.front())) return;
    std::ranges::pop_heap(found, has_smaller_name);
    found.back() = listed;
  } else {
    found.push_back(listed);
  }
  std::ranges::push_heap(found, has_smaller_name);
}

UserPage UserListing::page_of(Question& question) noexcept {
  UserPage page{std::move(question.found), false, false};
  std::ranges::sort_heap(page.users, has_smaller_name);
  page.has_more = page.users.size() > question.limit;
  if (page.has_more) page.users.pop_back();
  return page;
}

}  // namespace waystation
