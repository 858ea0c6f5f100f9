#include "embed/audit_time.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>

namespace waystation::server {
namespace {

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;

/// Parses a text from its start.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  /// Reads a number of exactly `count` digits.
  bool digits(std::size_t count, int& number) {
    if (text_.size() < count) return false;
    for (const char c : text_.substr(0, count)) {
      if (c < '0' || c > '9') return false;
    }
    std::from_chars(text_.data(), text_.data() + count, number);
    text_.remove_prefix(count);
    return true;
  }
  bool one_of(std::string_view characters, char* which = nullptr) {
    if (text_.empty() || characters.find(text_.front()) == std::string_view::npos) return false;
    if (which != nullptr) *which = text_.front();
    text_.remove_prefix(1);
    return true;
  }
  bool at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

/// Whether mktime() or timegm() kept the date. They change invalid dates, such as February 31.
bool is_same_day(const std::tm& a, const std::tm& b) {
  return a.tm_year == b.tm_year && a.tm_mon == b.tm_mon && a.tm_mday == b.tm_mday;
}

std::optional<std::int64_t> parse_date(std::string_view text) {
  Cursor cursor(text);
  std::tm time{};
  time.tm_isdst = -1;
  int year = 0;
  int month = 0;
  if (!cursor.digits(4, year) || !cursor.one_of("-") || !cursor.digits(2, month) ||
      !cursor.one_of("-") || !cursor.digits(2, time.tm_mday)) {
    return std::nullopt;
  }
  time.tm_year = year - 1900;
  time.tm_mon = month - 1;
  int ms = 0;
  bool has_zone = false;
  int offset_minutes = 0;
  if (cursor.one_of("T ")) {
    if (!cursor.digits(2, time.tm_hour) || !cursor.one_of(":") || !cursor.digits(2, time.tm_min)) {
      return std::nullopt;
    }
    if (cursor.one_of(":")) {
      if (!cursor.digits(2, time.tm_sec)) return std::nullopt;
      if (cursor.one_of(".") && !cursor.digits(3, ms)) return std::nullopt;
    }
    char sign = 'Z';
    has_zone = cursor.one_of("Z+-", &sign);
    if (has_zone && sign != 'Z') {
      int hours = 0;
      int minutes = 0;
      if (!cursor.digits(2, hours) || !cursor.one_of(":") || !cursor.digits(2, minutes) ||
          hours > 14 || minutes > 59) {
        return std::nullopt;
      }
      offset_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
    }
  }
  if (!cursor.at_end() || time.tm_hour > 23 || time.tm_min > 59 || time.tm_sec > 59) {
    return std::nullopt;
  }
  std::tm checked = time;
  const std::time_t seconds = has_zone ? ::timegm(&checked) : std::mktime(&checked);
  if (!is_same_day(time, checked)) return std::nullopt;
  return std::int64_t{seconds} * kSecond + ms - offset_minutes * kMinute;
}

std::int64_t midnight(std::int64_t ms, int days_before) {
  const std::time_t seconds = ms / kSecond;
  std::tm time{};
  ::localtime_r(&seconds, &time);
  time.tm_hour = time.tm_min = time.tm_sec = 0;
  time.tm_mday -= days_before;
  time.tm_isdst = -1;
  return std::int64_t{std::mktime(&time)} * kSecond;
}

std::optional<std::int64_t> unit(char letter) {
  switch (letter) {
    case 's':
      return kSecond;
    case 'm':
      return kMinute;
    case 'h':
      return kHour;
    case 'd':
      return kDay;
    case 'w':
      return 7 * kDay;
    default:
      return std::nullopt;
  }
}

std::string formatted(const char* format, std::int64_t ms, bool is_local, const char* tail) {
  // Round towards the past, also before 1970.
  const std::int64_t whole = (ms >= 0 ? ms : ms - (kSecond - 1)) / kSecond;
  const std::time_t seconds = whole;
  std::tm time{};
  if (is_local) {
    ::localtime_r(&seconds, &time);
  } else {
    ::gmtime_r(&seconds, &time);
  }
  std::array<char, 40> text{};
  const auto length = std::strftime(text.data(), text.size(), format, &time);
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03d", static_cast<int>(ms - whole * kSecond));
  return std::string(text.data(), length) + fraction.data() + tail;
}

}  // namespace

std::optional<std::int64_t> parse_time(std::string_view text, std::int64_t now_ms) {
  if (text == "now") return now_ms;
  if (text == "today") return midnight(now_ms, 0);
  if (text == "yesterday") return midnight(now_ms, 1);
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc{} && number >= 0) {
    if (stop == end) return number;
    constexpr std::int64_t kMaxUnits = 100'000'000;
    if (const auto length = unit(*stop); stop + 1 == end && length && number < kMaxUnits) {
      return now_ms - number * *length;
    }
  }
  return parse_date(text);
}

std::string_view allowed_times() {
  return "a time such as 2026-03-01, \"2026-03-01 14:30\" (local), 2026-03-01T13:30:00Z, today, "
         "yesterday, 30m, 2h, 3d (before now), or ms since 1970";
}

std::string local_time(std::int64_t ms) {
  return formatted("%Y-%m-%d %H:%M:%S", ms, true, "");
}

std::string utc_time(std::int64_t ms) {
  return formatted("%Y-%m-%dT%H:%M:%S", ms, false, "Z");
}

}  // namespace waystation::server
