#include "audit/audit.hpp"

#include <unistd.h>

#include <array>
#include <system_error>
#include <utility>

#include "audit/audit_file.hpp"
#include "audit/file_size_signal.hpp"
#include "base/error.hpp"
#include "base/thread.hpp"
#include "relay/node_name.hpp"

namespace waystation {

std::string resolve_node_name(const std::string& configured) {
  if (is_node_name(configured)) return configured;
  if (!configured.empty()) {
    throw AuditRefused(option_error("node_name", in_quotes(configured), "not a node name",
                                    WAYSTATION_NODE_NAME_RULE)
                           .message);
  }
  std::array<char, kMaxNodeBytes + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || !is_node_name(host.data())) {
    return "waystation";
  }
  return host.data();
}

void Audit::check(const std::string& file) {
  const auto path = resolve_audit_path(file);
  check_before_start(path);
  refuse_foreign_file(path);
}

Audit::Audit(AuditOptions options)
    : options_(std::move(options)),
      path_(resolve_audit_path(options_.file)),
      node_(resolve_node_name(options_.node)),
      inbox_(options_.queue_bytes),
      writer_(options_, path_, node_, inbox_, status_) {
  const FileSizeSignalBlocker no_signal;
  check(path_);
  writer_.start();
  try {
    thread_ = start_thread("waystation-db", [this] { writer_.run(); });
  } catch (...) {
    writer_.cancel();
    throw;
  }
}

Audit::~Audit() {
  stop();
}

void Audit::on_delivery(const Delivery& delivery) noexcept {
  if (delivery.outcome != Outcome::chat) inbox_.push(delivery);
}

void Audit::ask_missed(std::string user, MissedQuestion question, Completion done) {
  try {
    if (!missed_) {
      missed_ = std::make_unique<MissedReader>(options_, path_, node_, inbox_, status_);
    }
  } catch (const std::system_error&) {
    return done(MissedFailure{ErrorCode::audit_unavailable,
                              "missed: the server has no thread left; try again later"});
  }
  missed_->ask(std::move(user), std::move(question), std::move(done));
}

void Audit::set_retention(std::uint32_t days, std::uint64_t max_bytes) noexcept {
  writer_.retention().set_limits(days, max_bytes);
}

void Audit::stop(std::chrono::milliseconds timeout) {
  inbox_.request_stop(timeout);  // first: the reader of questions may wait for a flush
  if (missed_) missed_->stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace waystation
