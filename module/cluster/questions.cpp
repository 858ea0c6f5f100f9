#include "cluster/questions.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "relay/missed_answers.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

// Of questions that need no disk.
constexpr std::int64_t kDeadlineMs = 1000;

/// Calls `respond` with the text of an answer. Without memory there is no answer, and the answer of
/// all is partial.
template <typename Text, typename T>
void respond_with(const std::function<void(const std::string&)>& respond, Text text,
                  const T& answer) noexcept {
  try {
    respond(text(answer));
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

class Questions::PresenceGathering final : public Gathering {
 public:
  explicit PresenceGathering(Answer<UserPresence> answer) : answer_(std::move(answer)) {}

  bool add(std::string_view body) override { return add_presence_answer(body, found_); }
  void finish(bool is_partial) override {
    found_.is_partial = found_.is_partial || is_partial;
    // A user may have sockets of one group on several nodes.
    auto& groups = found_.groups;
    std::ranges::sort(groups);
    // Not in ranges: clang 14.
    groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
    answer_(std::move(found_));
  }

 private:
  Answer<UserPresence> answer_;
  UserPresence found_;
};

class Questions::MissedGathering final : public Gathering {
 public:
  MissedGathering(Questions& questions, std::string user, std::vector<std::string> nodes,
                  MissedQuestion question, Answer<MissedAnswer> answer)
      : questions_(questions),
        nodes_(std::move(nodes)),
        answers_(std::move(question), questions.options_.node_name),
        answer_(std::move(answer)),
        user_(questions.missed_users_.insert(std::move(user)).first) {}
  ~MissedGathering() override { questions_.missed_users_.erase(user_); }
  MissedGathering(const MissedGathering&) = delete;
  MissedGathering& operator=(const MissedGathering&) = delete;

  bool add(std::string_view body) override {
    auto answer = read_missed_answer(body);
    if (!answer) return false;
    if (*answer) {
      answers_.add(std::move(**answer));
    } else {
      answers_.add(answer->error().code);
    }
    return true;
  }
  void finish(bool is_partial) override {
    answer_(answers_.result(nodes_, is_partial, questions_.loop_.now().wall_ms));
  }

 private:
  Questions& questions_;
  const std::vector<std::string> nodes_;
  MissedAnswers answers_;
  Answer<MissedAnswer> answer_;
  const std::set<std::string>::iterator user_;
};

class Questions::UsersGathering final : public Gathering {
 public:
  UsersGathering(std::size_t limit, UserListing::Answer answer)
      : limit_(limit), answer_(std::move(answer)) {}

  bool add(std::string_view body) override {
    const auto page = read_user_page(body);
    if (!page) return false;
    page_ = page_ ? merge_pages(*page_, *page, limit_) : *page;
    return true;
  }
  void finish(bool is_partial) override {
    if (page_) page_->is_partial = page_->is_partial || is_partial;
    answer_(std::move(page_));
  }

 private:
  const std::size_t limit_;
  UserListing::Answer answer_;
  std::optional<UserPage> page_;
};

Questions::Questions(Loop& loop, Directory& directory, NodeCalls& node,
                     const ClusterOptions& options)
    : Timer(loop.timers()), loop_(loop), directory_(directory), node_(node), options_(options) {}

Questions::~Questions() {
  asked_.clear();  // while the set that it changes is there
}

// ---- asking

void Questions::presence(const Audience& audience, std::string_view user,
                         Answer<UserPresence> answer) {
  ask(audience, QuestionKind::presence, user,
      std::make_unique<PresenceGathering>(std::move(answer)));
}

void Questions::end_sessions(const Audience& audience, std::string_view user,
                             Answer<SocketCount> answer) {
  ask(audience, QuestionKind::end_sessions, user,
      std::make_unique<PresenceGathering>([answer = std::move(answer)](const UserPresence& found) {
        answer({found.push_sockets, found.is_partial});
      }));
}

void Questions::missed(const Audience& audience, std::string_view user, MissedQuestion question,
                       Answer<MissedAnswer> answer) {
  if (missed_users_.size() == kMaxMissed) return answer(missed_failure(ErrorCode::audit_busy));
  if (missed_users_.contains(std::string(user))) return answer(second_question_failure());
  const auto arguments = missed_ask_text(user, question);
  ask(audience, QuestionKind::missed, arguments,
      std::make_unique<MissedGathering>(*this, std::string(user), audience.nodes,
                                        std::move(question), std::move(answer)));
}

void Questions::list_users(const Audience& audience, std::string_view after, std::size_t limit,
                           UserListing::Answer answer) {
  ask(audience, QuestionKind::list_users, users_ask_text(after, limit),
      std::make_unique<UsersGathering>(limit, std::move(answer)));
}

void Questions::ask(const Audience& audience, QuestionKind kind, std::string_view arguments,
                    std::unique_ptr<Gathering> gathering) {
  const auto id = next_++;
  auto& asked = asked_[id];
  const bool needs_disk = kind == QuestionKind::missed;
  asked.deadline_ms = loop_.now_ms() + (needs_disk ? options_.missed_deadline_ms : kDeadlineMs);
  asked.gathering = std::move(gathering);
  Timer::set_sooner(asked.deadline_ms);
  try {
    if (publish(audience, id, kind, arguments)) return;
    // Only this node answers.
    asked.nodes = 1;
    asked.is_partial = true;
    answer_here(kind, arguments, [this, id](const std::string& body) { add_answer(id, body); });
  } catch (...) {
    asked_.erase(id);
    throw;
  }
}

/// False: the question cannot be sent.
bool Questions::publish(const Audience& audience, std::uint32_t id, QuestionKind kind,
                        std::string_view arguments) {
  if (audience.shard == nullptr) return false;
  auto& shard = *audience.shard;
  std::string body(1, static_cast<char>(kind));
  body += arguments;
  std::string frame;
  NodeHeader header;
  header.kind = NodeMessageKind::question;
  header.socket = id;
  write_node_message(frame, header, body, shard.sealer());
  const auto known = audience.nodes.size();
  // The names of the shard are among those of the audience.
  const bool is_known_elsewhere = known > shard.nodes().size();
  return shard.scripts().ask(
      shard.commands(), frame, [this, id, known, is_known_elsewhere](const AskReport* report) {
        const auto found = asked_.find(id);
        if (found == asked_.end() || report == nullptr) return;
        auto& asked = found->second;
        asked.nodes = report->nodes;
        // A node that is about to return, or is connected to another shard only, was not asked.
        if (is_known_elsewhere || !report->is_settled || report->nodes < known) {
          asked.is_partial = true;
        }
        finish_if_complete(id);
      });
}

// ---- answering

void Questions::answer_here(QuestionKind kind, std::string_view arguments, Respond respond) {
  switch (kind) {
    case QuestionKind::presence:
      if (is_user_id(arguments)) respond(presence_answer_text(directory_.presence(arguments)));
      return;
    case QuestionKind::end_sessions:
      if (is_user_id(arguments)) {
        respond(presence_answer_text({directory_.end_sessions(arguments), {}, false}));
      }
      return;
    case QuestionKind::missed:
      if (auto asked = read_missed_ask(arguments)) {
        node_.missed_here(std::move(asked->user), std::move(asked->question),
                          [respond = std::move(respond)](const MissedAnswer& answer) {
                            respond_with(respond, missed_answer_text, answer);
                          });
      }
      return;
    case QuestionKind::list_users:
      if (const auto asked = read_users_ask(arguments)) {
        node_.list_users_here(asked->after, asked->limit, loop_.now_ms() + kDeadlineMs,
                              [respond = std::move(respond)](const std::optional<UserPage>& page) {
                                respond_with(respond, user_page_text, page);
                              });
      }
      return;
  }
}

void Questions::on_question(Shard& shard, const NodeHeader& header, std::string_view body) {
  if (body.empty()) return;
  // Where the answer cannot be sent, the answer of the one that asks is partial.
  const auto respond = [&shard, id = header.socket,
                        inbox = shard.names().inbox(header.origin)](const std::string& text) {
    std::string frame;
    NodeHeader answer;
    answer.kind = NodeMessageKind::answer;
    answer.socket = id;
    write_node_message(frame, answer, text, shard.sealer());
    const std::string_view channels[] = {inbox};
    shard.scripts().publish(shard.commands(), channels, frame, {});
  };
  answer_here(static_cast<QuestionKind>(body[0]), body.substr(1), respond);
}

void Questions::on_answer(const NodeHeader& header, std::string_view body) {
  add_answer(header.socket, body);
}

void Questions::add_answer(std::uint32_t id, std::string_view body) {
  const auto found = asked_.find(id);
  if (found == asked_.end()) return;
  auto& asked = found->second;
  ++asked.answers;
  if (!asked.gathering->add(body)) asked.is_partial = true;
  finish_if_complete(id);
}

// ---- the end of a question

void Questions::finish_if_complete(std::uint32_t id) noexcept {
  const auto found = asked_.find(id);
  if (found == asked_.end() || found->second.nodes == 0) return;
  if (found->second.answers >= found->second.nodes) finish(found);
}

void Questions::finish(std::map<std::uint32_t, Asked>::iterator asked) noexcept {
  const auto gathering = std::move(asked->second.gathering);
  const bool is_partial = asked->second.is_partial;
  asked_.erase(asked);
  try {
    gathering->finish(is_partial);
  } catch (const std::bad_alloc&) {
    // The caller has a deadline of its own.
  }
}

void Questions::on_timer() noexcept {
  auto next_ms = TimerQueue::kNever;
  // An answer may lead to a new question, which sets the timer itself.
  for (auto asked = asked_.begin(); asked != asked_.end();) {
    const auto current = asked++;
    if (current->second.deadline_ms > loop_.now_ms()) {
      next_ms = std::min(next_ms, current->second.deadline_ms);
    } else {
      current->second.is_partial = true;
      finish(current);
    }
  }
  Timer::set_sooner(next_ms);
}

}  // namespace waystation
