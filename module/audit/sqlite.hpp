// SQLite with owners: what is opened is closed, what goes wrong is an exception.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace waystation {

/// What SQLite said, in its own words, with its extended result code.
class SqliteError : public std::runtime_error {
 public:
  SqliteError(int code, const std::string& words, int system_error = 0)
      : std::runtime_error(words), code_(code), system_error_(system_error) {}
  int code() const noexcept { return code_; }
  /// The errno behind it; 0 where there is none.
  int system_error() const noexcept { return system_error_; }
  int primary_code() const noexcept { return code_ & 0xff; }
  /// The file itself is damaged.
  bool is_corruption() const noexcept;

 private:
  int code_;
  int system_error_;
};

class Database;

/// A prepared statement. Parameters are numbered from 1, columns from 0.
class Statement {
 public:
  Statement() = default;
  /// For a statement that is used again and again, `is_persistent` lets SQLite prepare for that.
  Statement(Database& database, std::string_view sql, bool is_persistent = false);

  /// The highest number that a parameter has.
  int parameters() const noexcept;
  void bind(int parameter, std::int64_t number);
  /// The text must live until the statement was stepped and reset.
  void bind(int parameter, std::string_view text);
  void bind_null(int parameter);
  /// Null where it is empty.
  void bind_or_null(int parameter, std::string_view text);

  /// True: there is a row. Throws SqliteError, with the statement reset.
  bool step();
  void reset() noexcept;
  /// Steps to the end and resets.
  void run();

  bool is_null(int column) const noexcept;
  std::int64_t number(int column) const noexcept;
  /// Lives until the next step.
  std::string_view text(int column) const noexcept;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  [[noreturn]] void fail();

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

/// A connection. One thread at a time.
class Database {
 public:
  /// `look` reads the file as it lies there, without lock or log. It goes through SQLite all the
  /// same, because a file that is opened and closed beside it would lose SQLite's locks.
  enum class Access : std::uint8_t { look, read, write };

  /// Opens a file that is there; never follows a link. Throws SqliteError.
  Database(const std::string& path, Access access);

  sqlite3* get() const noexcept { return handle_.get(); }

  /// How long to wait for another's lock.
  void set_busy_timeout(int ms) noexcept;
  /// Calls `between` each so many steps of SQLite's machine, in the midst of any statement. Where
  /// it does not return 0, the statement ends with SQLITE_INTERRUPT.
  void set_progress(int steps, int (*between)(void*), void* context) noexcept;
  /// Runs statements that give no rows.
  void execute(const std::string& sql);
  /// The first column of the first row, as a number or as text.
  std::int64_t number(std::string_view sql);
  std::string text(std::string_view sql);

  bool is_read_only() const noexcept;
  std::int64_t changes() const noexcept;
  /// Leaves the file as it is when closed, even where its log could be moved into it.
  void leave_untouched() noexcept;

  [[noreturn]] void fail(int code);

 private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept;
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

/// A transaction that is undone unless it was committed.
class Transaction {
 public:
  /// For writing: takes the lock at once.
  enum class Kind : std::uint8_t { read, write };
  Transaction(Database& database, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit();

 private:
  Database& database_;
  bool is_open_ = true;
};

}  // namespace waystation
