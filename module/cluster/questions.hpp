// Questions that all nodes answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/cluster_options.hpp"
#include "cluster/node_message.hpp"
#include "cluster/question_text.hpp"
#include "cluster/shard.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/backplane.hpp"
#include "relay/directory.hpp"

namespace waystation {

/// Asks every node, this one too, and puts the answers together. Without all of them at the
/// deadline, the answer is partial. The deadline is a second, and longer for what a user missed.
/// The loop's thread only.
class Questions final : private Timer {
 public:
  /// The most questions what users missed that wait for answers. Each one reads the disk of every
  /// node.
  static constexpr std::size_t kMaxMissed = 1000;

  /// The references must outlive it.
  Questions(Loop& loop, Directory& directory, NodeCalls& node, const ClusterOptions& options);
  ~Questions();

  /// The nodes that a question goes to.
  struct Audience {
    Shard* shard = nullptr;  // is asked and ready; null: none is, and only this node answers
    /// The names of all nodes that this one knows, each once. Not all may be in the table of
    /// `shard`.
    std::vector<std::string> nodes = {};
  };

  /// Each throws std::bad_alloc.
  void presence(const Audience& audience, std::string_view user, Answer<UserPresence> answer);
  void end_sessions(const Audience& audience, std::string_view user, Answer<SocketCount> answer);
  /// Refused with audit_busy if kMaxMissed wait, or one of this user.
  void missed(const Audience& audience, std::string_view user, MissedQuestion question,
              Answer<MissedAnswer> answer);
  void list_users(const Audience& audience, std::string_view after, std::size_t limit,
                  UserListing::Answer answer);

  /// A question of a node, this one too, and an answer to this node. Throw std::bad_alloc.
  void on_question(Shard& shard, const NodeHeader& header, std::string_view body);
  void on_answer(const NodeHeader& header, std::string_view body);

 private:
  /// Puts the answers to one question together. Both functions may throw std::bad_alloc.
  class Gathering {
   public:
    virtual ~Gathering() = default;
    /// False: the answer is malformed.
    virtual bool add(std::string_view body) = 0;
    /// Gives the answer of all. Once.
    virtual void finish(bool is_partial) = 0;
  };
  class PresenceGathering;
  class MissedGathering;
  class UsersGathering;

  struct Asked {
    std::int64_t deadline_ms = 0;
    std::size_t answers = 0;
    std::size_t nodes = 0;  // that were asked; 0: not known yet
    bool is_partial = false;
    std::unique_ptr<Gathering> gathering;
  };

  /// Receives the body of this node's answer, once, inside the call or later. Must not throw.
  using Respond = std::function<void(const std::string& body)>;

  void ask(const Audience& audience, QuestionKind kind, std::string_view arguments,
           std::unique_ptr<Gathering> gathering);
  bool publish(const Audience& audience, std::uint32_t id, QuestionKind kind,
               std::string_view arguments);
  void answer_here(QuestionKind kind, std::string_view arguments, Respond respond);
  void add_answer(std::uint32_t id, std::string_view body);
  void finish_if_complete(std::uint32_t id) noexcept;
  void finish(std::map<std::uint32_t, Asked>::iterator asked) noexcept;
  void on_timer() noexcept override;

  Loop& loop_;
  Directory& directory_;
  NodeCalls& node_;
  const ClusterOptions& options_;
  std::map<std::uint32_t, Asked> asked_;  // by number
  std::set<std::string> missed_users_;    // who ask what they missed, among asked_
  std::uint32_t next_ = 1;
};

}  // namespace waystation
