#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/http_api.hpp"

namespace waystation::test {

/// A relay with configurable answers, which records its calls.
class FakeRelay final : public RelayCalls {
 public:
  Result<Count, CallFailure> push(std::string_view user, std::string_view json) override {
    asked.push_back("push " + std::string(user) + " " + std::string(json));
    return pushed;
  }
  Result<Presence, CallFailure> presence(std::string_view user) override {
    asked.push_back("presence " + std::string(user));
    return present;
  }
  Result<UserPage, CallFailure> users(std::string_view first, std::size_t limit) override {
    asked.push_back("users " + std::string(first) + " " + std::to_string(limit));
    return listed;
  }
  Result<NodeList, CallFailure> nodes() override {
    asked.emplace_back("nodes");
    return known;
  }
  Result<Count, CallFailure> end_sessions(std::string_view user) override {
    asked.push_back("end " + std::string(user));
    return ended;
  }
  Health health() override {
    asked.emplace_back("health");
    return healthy;
  }
  Result<std::vector<AuditRow>, CallFailure> audit(const AuditFilter& wanted,
                                                   std::optional<AuditCursor> from,
                                                   std::size_t limit,
                                                   AuditOrder wanted_order) override {
    asked.push_back("audit " + std::to_string(limit));
    filter = wanted;
    after = from;
    order = wanted_order;
    return rows;
  }
  Result<Missed, CallFailure> missed(const std::string& user, MissedQuestion question) override {
    asked.push_back("missed " + user + " " +
                    (question.after ? question.after->text() : std::to_string(question.since)));
    return tried;
  }
  std::size_t max_message_bytes() const override { return 100; }

  Result<Count, CallFailure> pushed = Count{3};
  Result<Presence, CallFailure> present = Presence{2, {"alice_bob", "alice_carol"}};
  Result<UserPage, CallFailure> listed = UserPage{};
  Result<NodeList, CallFailure> known = NodeList{};
  Result<Count, CallFailure> ended = Count{4};
  Health healthy{false, "1.2.3", {{"chat_sockets", 7}, {"queued_bytes", 5'000'000'000}}, "off", ""};
  Result<std::vector<AuditRow>, CallFailure> rows = std::vector<AuditRow>();
  Result<Missed, CallFailure> tried =
      Missed{{{"bob", 3, 1000, 2000}}, 2, true, "3000-7-12345-here"};
  AuditFilter filter;
  std::optional<AuditCursor> after;
  AuditOrder order = AuditOrder::oldest;
  std::vector<std::string> asked;
};

}  // namespace waystation::test
