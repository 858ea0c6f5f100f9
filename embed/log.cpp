#include "embed/log.hpp"

#include <spdlog/formatter.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "embed/log_limiter.hpp"
#include "embed/stderr_sink.hpp"
#include "embed/utf8.hpp"

namespace waystation::server {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::debug:
      break;
  }
  return spdlog::level::debug;
}

/// `%*` in the patterns below: the event's text, escaped.
class EscapedText : public spdlog::custom_flag_formatter {
 public:
  explicit EscapedText(bool json) : json_{json} {}

  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const auto text = escape_for_log({message.payload.data(), message.payload.size()}, json_);
    out.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<EscapedText>(json_);
  }

 private:
  bool json_;
};

/// `%!` in the patterns below: the level's name, as in the option log_level.
class LevelName : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string_view name = "debug";
    if (message.level == spdlog::level::err) name = "error";
    if (message.level == spdlog::level::warn) name = "warning";
    if (message.level == spdlog::level::info) name = "info";
    out.append(name.data(), name.data() + name.size());
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<LevelName>();
  }
};

// journald reads this prefix of a line as its priority (sd-daemon(3)).
constexpr std::string_view kErrorPriority = "<3>";

/// `%&` in the patterns below: the priority prefix.
class Priority : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string_view priority = "<7>";
    if (message.level == spdlog::level::err) priority = kErrorPriority;
    if (message.level == spdlog::level::warn) priority = "<4>";
    if (message.level == spdlog::level::info) priority = "<6>";
    out.append(priority.data(), priority.data() + priority.size());
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

/// Whether standard error goes to journald, which parses priorities. JOURNAL_STREAM names the file
/// that systemd connected; a service may have redirected standard error since (systemd.exec(5)).
bool is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  std::uintmax_t device = 0;
  std::uintmax_t inode = 0;
  struct stat file {};
  return stream && std::sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
         fstat(STDERR_FILENO, &file) == 0 && file.st_dev == device && file.st_ino == inode;
}

std::unique_ptr<spdlog::formatter> make_formatter(bool json) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<EscapedText>('*', json).add_flag<LevelName>('!').add_flag<Priority>('&');
  std::string pattern = json ? R"({"at":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%!","text":"%*"})"
                             : "%Y-%m-%dT%H:%M:%S.%eZ %! %*";
  if (is_journal()) pattern = "%&" + pattern;
  formatter->set_pattern(std::move(pattern));
  return formatter;
}

}  // namespace

LogLevel parse_log_level(std::string_view text) {
  if (text == "error") return LogLevel::error;
  if (text == "warning") return LogLevel::warning;
  if (text == "debug") return LogLevel::debug;
  return LogLevel::info;
}

std::string escape_for_log(std::string_view text, bool json) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    const auto length = utf8_length(text);
    // C1 control characters are two bytes in UTF-8. Some terminals interpret them.
    const bool is_c1 = length == 2 && c == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
    if (c < 0x20 || c == 0x7F || is_c1) {
      std::array<char, 8> escape{};
      const unsigned code = is_c1 ? static_cast<unsigned char>(text[1]) : c;
      std::snprintf(escape.data(), escape.size(), json ? "\\u%04x" : "\\x%02x", code);
      out += escape.data();
    } else if (length == 0) {
      out += "\xEF\xBF\xBD";  // U+FFFD
    } else {
      if (json && (c == '"' || c == '\\')) out += '\\';
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

void write_final_line(std::string_view text) {
  std::string line{text};
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  line = "waystation: " + escape_for_log(line, false) + "\n";
  if (is_journal()) line.insert(0, kErrorPriority);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

struct Log::Sink {
  // Not in spdlog's global registry: the Log owns it.
  std::shared_ptr<StderrSink> stderr_sink = std::make_shared<StderrSink>();
  spdlog::logger logger{"waystation", stderr_sink};
  std::mutex mutex;  // guards limiter
  LogLimiter limiter;

  std::vector<LogLimiter::Suppressed> end_intervals(LogLimiter::Clock::time_point now) {
    const std::lock_guard lock{mutex};
    return limiter.end_intervals(now);
  }
};

namespace {

std::string line_for(const LogLimiter::Suppressed& suppressed) {
  return std::to_string(suppressed.count) + " more lines like this were suppressed within " +
         std::to_string(LogLimiter::kInterval.count()) + " s: " + suppressed.kind;
}

}  // namespace

Log::Log(LogLevel level, bool json) : sink_{std::make_unique<Sink>()} {
  configure(level, json);
}

Log::~Log() {
  report_suppressed(LogLimiter::Clock::time_point::max());
}

void Log::configure(LogLevel level, bool json) {
  sink_->stderr_sink->set_formatter(make_formatter(json));
  sink_->logger.set_level(to_spdlog(level));
}

void Log::report_suppressed() noexcept {
  report_suppressed(LogLimiter::Clock::now());
}

void Log::report_suppressed(std::chrono::steady_clock::time_point now) noexcept {
  try {
    for (const auto& kind : sink_->end_intervals(now)) write_unlimited(kind.level, line_for(kind));
  } catch (const std::bad_alloc&) {
    // As in write().
  }
}

bool Log::writes(LogLevel level) const noexcept {
  return sink_->logger.should_log(to_spdlog(level));
}

void Log::write(LogLevel level, std::string_view text) noexcept {
  if (!writes(level)) return;
  report_suppressed();
  try {
    {
      const std::lock_guard lock{sink_->mutex};
      if (!sink_->limiter.allows(level, text, LogLimiter::Clock::now())) return;
    }
    write_unlimited(level, text);
  } catch (const std::bad_alloc&) {
    // Drop the line: the caller must be able to continue without memory, for example to shut down.
  }
}

void Log::write_unlimited(LogLevel level, std::string_view text) {
  sink_->logger.log(to_spdlog(level), spdlog::string_view_t{text.data(), text.size()});
}

}  // namespace waystation::server
