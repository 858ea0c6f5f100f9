// Audit files for tests: a temporary folder, and direct queries with SQLite.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "audit/audit.hpp"
#include "relay/observer.hpp"

namespace waystation::test {

/// A temporary folder, removed by the destructor.
class Folder {
 public:
  Folder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "waystation-audit-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

 private:
  std::string path_;
};

/// A separate connection of the test.
class Peek {
 public:
  explicit Peek(const std::string& path) {
    if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr) !=
        SQLITE_OK) {
      ADD_FAILURE() << path << ": " << sqlite3_errmsg(db_);
    }
    sqlite3_busy_timeout(db_, 20'000);
  }
  ~Peek() { sqlite3_close(db_); }
  Peek(const Peek&) = delete;
  Peek& operator=(const Peek&) = delete;

  int run(const std::string& sql) {
    return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  }
  /// The first column of the first row.
  std::string value(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) {
      return std::string("error: ") + sqlite3_errmsg(db_);
    }
    std::string value = "none";
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
      value = text == nullptr ? "null" : text;
    } else if (code != SQLITE_DONE) {
      value = std::string("error: ") + sqlite3_errmsg(db_);
    }
    sqlite3_finalize(statement);
    return value;
  }

 private:
  sqlite3* db_ = nullptr;
};

/// The lines that an audit logged.
class Lines {
 public:
  std::function<void(AuditLogLevel, const std::string&)> sink() {
    return [this](AuditLogLevel level, const std::string& line) {
      const std::lock_guard lock(mutex_);
      lines_.push_back((level == AuditLogLevel::error     ? "error: "
                        : level == AuditLogLevel::warning ? "warning: "
                                                          : "info: ") +
                       line);
    };
  }
  std::vector<std::string> all() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  std::size_t count(const std::string& part) const {
    const std::lock_guard lock(mutex_);
    std::size_t found = 0;
    for (const auto& line : lines_) found += line.find(part) != std::string::npos ? 1U : 0U;
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// The folder of this process's thread of that name in /proc.
inline std::filesystem::path thread_folder(const std::string& thread) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == thread) return task.path();
  }
  throw std::runtime_error("there is no thread " + thread);
}

/// The number of its voluntary context switches.
inline int thread_sleeps(const std::string& thread) {
  std::ifstream status(thread_folder(thread) / "status");
  const std::string key = "voluntary_ctxt_switches:";
  for (std::string word; status >> word;) {
    if (word != key) continue;
    int switches = 0;
    status >> switches;
    return switches;
  }
  throw std::runtime_error("the kernel does not count switches");
}

/// Waits until another thread makes a condition true. False on a timeout.
inline bool eventually(const std::function<bool()>& is_so,
                       std::chrono::seconds patience = std::chrono::seconds(20)) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

inline Delivery pushed(std::int64_t at, std::string_view from = "alice",
                       std::string_view to = "bob", std::string_view group = "alice_bob") {
  return {Outcome::pushed, at, group, from, to, "m1", 1, 5};
}

inline Delivery undelivered(std::int64_t at, std::string_view from = "alice",
                            std::string_view to = "bob", std::string_view group = "alice_bob") {
  return {Outcome::undelivered, at, group, from, to, "", 0, 5};
}

inline std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Options with short intervals.
inline AuditOptions quick(const std::string& file, Lines& lines) {
  AuditOptions options;
  options.file = file;
  options.node = "here";
  options.log = lines.sink();
  options.batch_interval = std::chrono::milliseconds(5);
  options.retry_interval = std::chrono::milliseconds(20);
  return options;
}

inline constexpr std::chrono::seconds kPatience{20};

/// A temporary audit file, and the log lines of its audit.
class AuditTest : public ::testing::Test {
 protected:
  Folder folder_;
  Lines lines_;
  const std::string file_ = folder_.file("audit.db");

  AuditOptions options() { return quick(file_, lines_); }

  std::string count(const std::string& where = "outcome <> 'gap'") {
    return Peek(file_).value("SELECT count(*) FROM deliveries WHERE " + where);
  }
  /// Writes rows until some are only in the WAL. Returns the number of all rows.
  int fill_wal(Audit& audit) {
    int rows = 0;
    do {
      audit.on_delivery(pushed(now_ms()));
      ++rows;
      if (!audit.flush(kPatience)) ADD_FAILURE() << "it is not written";
    } while (std::filesystem::file_size(file_ + "-wal") == 0 && rows < 1000);
    return rows;
  }
};

}  // namespace waystation::test
