#include "cluster/questions.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/byte_reader.hpp"
#include "base/byte_writer.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

constexpr std::int64_t kDeadlineMs = 1000;
// Of an answer. What does not fit makes it partial.
constexpr std::size_t kMaxAnswerBytes = std::size_t{1} << 20;

std::string write_answer(const UserPresence& found) {
  std::string body;
  ByteWriter out(body);
  out.u64(found.push_sockets);
  out.u8(0);
  for (const auto& group : found.groups) {
    if (body.size() > kMaxAnswerBytes) {
      body[8] = 1;
      break;
    }
    out.u8(static_cast<std::uint8_t>(group.size()));
    out.text(group);
  }
  return body;
}

void add_answer(std::string_view body, UserPresence& found) {
  ByteReader in(body);
  const auto high = std::uint64_t{in.u32()} << 32U;
  found.push_sockets += high | in.u32();
  if (in.u8() != 0) found.is_partial = true;
  while (in.left() != 0 && !in.is_short()) {
    const auto size = in.u8();
    const auto group = in.text(size);
    if (parse_group(group)) found.groups.emplace_back(group);
  }
  if (in.is_short()) found.is_partial = true;
}

}  // namespace

void Questions::presence(Shard* shard, std::string_view user, Answer<UserPresence> answer) {
  ask(shard, Kind::presence, user, std::move(answer));
}

void Questions::end_sessions(Shard* shard, std::string_view user, Answer<SocketCount> answer) {
  ask(shard, Kind::end_sessions, user, [answer = std::move(answer)](const UserPresence& found) {
    answer({found.push_sockets, found.is_partial});
  });
}

UserPresence Questions::answer_here(Kind kind, std::string_view user) {
  if (kind == Kind::presence) return directory_.presence(user);
  return {directory_.end_sessions(user), {}};
}

void Questions::ask(Shard* shard, Kind kind, std::string_view user, Answer<UserPresence> answer) {
  const auto id = next_++;
  if (shard != nullptr) {
    std::string body(1, static_cast<char>(kind));
    body += user;
    std::string frame;
    NodeHeader header;
    header.kind = NodeMessageKind::question;
    header.socket = id;
    write_node_message(frame, header, body, shard->sealer());
    const auto all = shard->names().all();
    const std::string_view channels[] = {all};
    auto& asked = asked_[id];
    asked.deadline_ms = loop_.now_ms() + kDeadlineMs;
    asked.answer = answer;
    const auto on_reply = [this, id, known = shard->node_count()](const Reply* reply) {
      const auto found = asked_.find(id);
      if (found == asked_.end() || reply == nullptr || reply->integer <= 0) return;
      found->second.nodes = static_cast<std::size_t>(reply->integer);
      // A node that is about to return was not asked.
      if (found->second.nodes < known) found->second.found.is_partial = true;
      finish_if_complete(id);
    };
    try {
      if (shard->scripts().publish(shard->commands(), channels, frame, on_reply)) {
        return Timer::set_sooner(asked.deadline_ms);
      }
    } catch (...) {
      asked_.erase(id);
      throw;
    }
    asked_.erase(id);
  }
  auto found = answer_here(kind, user);
  found.is_partial = true;
  answer(std::move(found));
}

void Questions::on_question(Shard& shard, const NodeHeader& header, std::string_view body) {
  if (body.empty()) return;
  const auto kind = static_cast<Kind>(body[0]);
  const auto user = body.substr(1);
  if ((kind != Kind::presence && kind != Kind::end_sessions) || !is_user_id(user)) return;
  std::string frame;
  NodeHeader answer;
  answer.kind = NodeMessageKind::answer;
  answer.socket = header.socket;
  write_node_message(frame, answer, write_answer(answer_here(kind, user)), shard.sealer());
  const auto inbox = shard.names().inbox(header.origin);
  const std::string_view channels[] = {inbox};
  // Where it cannot be sent, the answer of the one that asks is partial.
  shard.scripts().publish(shard.commands(), channels, frame, {});
}

void Questions::on_answer(const NodeHeader& header, std::string_view body) {
  const auto found = asked_.find(header.socket);
  if (found == asked_.end()) return;
  ++found->second.answers;
  add_answer(body, found->second.found);
  finish_if_complete(header.socket);
}

void Questions::finish_if_complete(std::uint32_t id) noexcept {
  const auto found = asked_.find(id);
  if (found == asked_.end() || found->second.nodes == 0) return;
  if (found->second.answers >= found->second.nodes) finish(found, false);
}

void Questions::finish(std::map<std::uint32_t, Asked>::iterator asked, bool is_partial) noexcept {
  auto found = std::move(asked->second.found);
  const auto answer = std::move(asked->second.answer);
  asked_.erase(asked);
  found.is_partial = found.is_partial || is_partial;
  // A user may have sockets of one group on several nodes.
  auto& groups = found.groups;
  std::ranges::sort(groups);
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());  // not in ranges: clang 14
  try {
    answer(std::move(found));
  } catch (const std::bad_alloc&) {
    // The caller has a deadline of its own.
  }
}

void Questions::on_timer() noexcept {
  while (!asked_.empty() && asked_.begin()->second.deadline_ms <= loop_.now_ms()) {
    finish(asked_.begin(), true);
  }
  if (!asked_.empty()) Timer::set(asked_.begin()->second.deadline_ms);
}

}  // namespace waystation
