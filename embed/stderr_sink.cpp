#include "embed/stderr_sink.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

namespace waystation::server {
namespace {

/// Whether standard error accepts PIPE_BUF bytes without blocking (pipe(7)), now or within
/// `timeout`. Also true if it is closed: write() then fails at once.
bool is_writable(std::chrono::milliseconds timeout) {
  pollfd error{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  return ::poll(&error, 1, static_cast<int>(timeout.count())) != 0;
}

enum class Written { all, nothing, some };

Written write_all(std::string_view text, std::chrono::milliseconds timeout) {
  const auto whole = text.size();
  while (!text.empty()) {
    if (!is_writable(timeout)) return text.size() == whole ? Written::nothing : Written::some;
    const auto piece = text.substr(0, PIPE_BUF);
    const auto written = ::write(STDERR_FILENO, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;  // there is no place to report this error
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return Written::all;
}

}  // namespace

void StderrSink::sink_it_(const spdlog::details::log_msg& message) {
  using std::chrono::milliseconds;
  if (lost_ != 0) {
    const auto text =
        std::to_string(lost_) + " lines of the log were lost: standard error was full";
    if (write({message.time, {}, message.logger_name, spdlog::level::warn, text},
              milliseconds(0))) {
      lost_ = 0;
    }
  }
  if (!write(message, lost_ == 0 ? kWriteTimeout : milliseconds(0))) ++lost_;
}

bool StderrSink::write(const spdlog::details::log_msg& message, std::chrono::milliseconds timeout) {
  spdlog::memory_buf_t line;
  if (is_partial_) line.push_back('\n');
  formatter_->format(message, line);
  const auto written = write_all({line.data(), line.size()}, timeout);
  if (written != Written::nothing) is_partial_ = written == Written::some;
  return written == Written::all;
}

}  // namespace waystation::server
