// SQLite's connections, statements and transactions as RAII types; errors are exceptions.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace waystation {

/// SQLite's message with its extended result code.
class SqliteError : public std::runtime_error {
 public:
  SqliteError(int code, const std::string& message, int system_error = 0)
      : std::runtime_error(message), code_(code), system_error_(system_error) {}
  int code() const noexcept { return code_; }
  /// The errno behind it; 0 if there is none.
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
  /// `is_persistent`: a hint for statements that are used many times.
  Statement(Database& database, std::string_view sql, bool is_persistent = false);

  /// The number of the last parameter.
  int parameters() const noexcept;
  void bind(int parameter, std::int64_t number);
  /// The text must live until the statement is reset.
  void bind(int parameter, std::string_view text);
  void bind_null(int parameter);
  /// Binds NULL for an empty text.
  void bind_or_null(int parameter, std::string_view text);

  /// True: there is a row. Throws SqliteError, and resets the statement.
  bool step();
  void reset() noexcept;
  /// Runs the statement to its end and resets it.
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
  /// `peek` reads the file without locks or WAL. It uses SQLite too, because closing another
  /// descriptor of the file would drop SQLite's locks.
  enum class Access : std::uint8_t { peek, read, write };

  /// Opens an existing file; follows no link. Throws SqliteError.
  Database(const std::string& path, Access access);

  sqlite3* get() const noexcept { return handle_.get(); }

  /// How long to wait for another connection's lock.
  void set_busy_timeout(int ms) noexcept;
  /// Calls `on_busy` instead, with the number of its earlier calls for this lock. SQLite tries
  /// again unless it returns 0, which ends the statement with SQLITE_BUSY.
  void set_busy_handler(int (*on_busy)(void*, int), void* context) noexcept;
  /// Calls `on_progress` each `steps` instructions of SQLite's virtual machine. If it does not
  /// return 0, the statement ends with SQLITE_INTERRUPT.
  void set_progress_handler(int steps, int (*on_progress)(void*), void* context) noexcept;
  /// Runs statements that return no rows.
  void execute(const std::string& sql);
  /// The first column of the first row, as a number or as text.
  std::int64_t number(std::string_view sql);
  std::string text(std::string_view sql);

  /// Whether the file begins with SQLite's header; an empty one does not. Throws SqliteError if the
  /// file cannot be read.
  bool has_header();
  bool is_read_only() const noexcept;
  std::int64_t changes() const noexcept;
  /// Closing does not checkpoint the WAL.
  void skip_checkpoint_on_close() noexcept;

  [[noreturn]] void fail(int code);

 private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept;
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

/// A transaction; its destructor rolls back unless it was committed.
class Transaction {
 public:
  /// `write` takes the write lock at once.
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
