#include "audit/audit.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "audit/audit_words.hpp"
#include "audit/file_size_signal.hpp"
#include "base/thread.hpp"

namespace waystation {
namespace {

constexpr std::size_t kMaxNodeBytes = 64;

/// The node's name, or else the host's.
std::string node_of(const std::string& node) {
  if (is_audit_node(node)) return node;
  if (!node.empty()) {
    throw AuditRefused("audit_node = \"" + node + "\": 1 to " + std::to_string(kMaxNodeBytes) +
                       " of the characters A-Z, a-z, 0-9, '.', '_' and '-'");
  }
  std::array<char, kMaxNodeBytes + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || !is_audit_node(host.data())) {
    return "waystation";
  }
  return host.data();
}

}  // namespace

void Audit::check(const std::string& file) {
  const auto path = resolve_audit_path(file);
  check_before_start(path);
  refuse_foreign_audit(path);
}

bool is_audit_node(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxNodeBytes && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

Audit::Audit(AuditOptions options)
    : options_(std::move(options)),
      path_(resolve_audit_path(options_.file)),
      node_(node_of(options_.node)),
      started_at_(wall_ms()),
      run_file_(path_, node_),
      queue_(options_.queue_bytes),
      retention_days_(options_.retention_days),
      max_bytes_(options_.max_bytes) {
  const FileSizeSignal an_error_only;
  check(path_);
  // Before the first row can come, so that none is missing without a trace, even where the file
  // cannot be opened until the end.
  take_run_file();
  try {
    start();
  } catch (...) {
    withdraw_run();
    throw;
  }
}

void Audit::start() {
  // Once here, where a mistake can still be refused. Any fault is met again by the writer, who says
  // so and goes on trying.
  try {
    AuditStore once(path_, node_, false);
    if (once.was_made_private()) {
      say(AuditLogLevel::warning,
          [this] { return "audit: " + path_ + " could be read by others; its mode is now 0600"; });
    }
    begin_run(once);
  } catch (const SqliteError&) {
  } catch (const std::system_error&) {
  }
  thread_ = start_thread("waystation-db", [this] { run(); });
}

Audit::~Audit() {
  stop();
}

// ---- the relay's thread

void Audit::on_delivery(const Delivery& delivery) noexcept {
  if (delivery.outcome == Outcome::chat) return;
  if (!queue_.push(delivery)) return loss_.add(delivery.at);
  if (!is_asleep_.load(std::memory_order_seq_cst)) return;
  // Once for each time that the writer fell asleep.
  is_asleep_.store(false, std::memory_order_relaxed);
  wake_.wake();
}

// ---- any thread

bool Audit::is_locked() const noexcept {
  const std::lock_guard lock(fault_mutex_);
  return state_ == AuditState::locked;
}

std::uint64_t Audit::rows_lost() const noexcept {
  return static_cast<std::uint64_t>(loss_.count()) + given_up_.load(std::memory_order_relaxed);
}

bool Audit::flush(std::chrono::milliseconds deadline) {
  const auto rows = queue_.rows_in();
  const auto lost = loss_.count();
  std::unique_lock lock(mutex_);
  ++flushing_;
  wake_.wake();
  const bool done = flushed_.wait_for(
      lock, deadline, [&] { return queue_.rows_out() >= rows && loss_.settled() >= lost; });
  --flushing_;
  return done;
}

void Audit::set_retention(std::uint32_t days, std::uint64_t max_bytes) noexcept {
  retention_days_.store(days, std::memory_order_relaxed);
  max_bytes_.store(max_bytes, std::memory_order_relaxed);
  is_retention_new_ = true;
}

AuditFigures Audit::figures() const {
  AuditFigures figures;
  {
    const std::lock_guard lock(fault_mutex_);
    figures.state = state_;
    figures.fault = fault_;
  }
  figures.rows_written = rows_written_.load(std::memory_order_relaxed);
  figures.rows_lost = rows_lost();
  figures.rows_waiting = queue_.size();
  figures.file_bytes = file_bytes_.load(std::memory_order_relaxed);
  const auto since = waiting_since_.load(std::memory_order_relaxed);
  if (since != 0 && figures.rows_waiting != 0) {
    figures.lag_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(wall_ms() - since, 0));
  }
  return figures;
}

void Audit::stop(std::chrono::milliseconds deadline) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_stopping_) stop_at_ = Clock::now() + deadline;
    is_stopping_ = true;
  }
  wake_.wake();
  if (thread_.joinable()) thread_.join();
}

}  // namespace waystation
