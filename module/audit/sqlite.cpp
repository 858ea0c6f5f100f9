#include "audit/sqlite.hpp"

#include <sqlite3.h>

#include <array>
#include <new>

namespace waystation {
namespace {

/// The errno behind a failure. SQLite keeps one for the connection, which later calls may have
/// overwritten, and one for each file.
int system_error_of(sqlite3* handle, int code) noexcept {
  const int kind = code & 0xff;
  if (kind != SQLITE_IOERR && kind != SQLITE_CANTOPEN) return 0;
  if (const int error = sqlite3_system_errno(handle); error != 0) return error;
  for (const int which : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
    sqlite3_file* file = nullptr;
    int error = 0;
    if (sqlite3_file_control(handle, "main", which, static_cast<void*>(&file)) == SQLITE_OK &&
        file != nullptr && file->pMethods != nullptr &&
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) == SQLITE_OK &&
        error != 0) {
      return error;
    }
  }
  return 0;
}

/// A URI with which SQLite reads a file without locks and WAL.
std::string immutable_uri(const std::string& path) {
  constexpr char digits[] = "0123456789abcdef";
  std::string uri = "file:";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '%' || c == '?' || c == '#') {
      uri += '%';
      uri += digits[byte >> 4];
      uri += digits[byte & 15];
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

bool SqliteError::is_corruption() const noexcept {
  return primary_code() == SQLITE_CORRUPT || primary_code() == SQLITE_NOTADB;
}

// ---- Statement

void Statement::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_finalize(statement);
}

Statement::Statement(Database& database, std::string_view sql, bool is_persistent) {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(database.get(), sql.data(), static_cast<int>(sql.size()),
                         is_persistent ? SQLITE_PREPARE_PERSISTENT : 0U, &statement, nullptr);
  if (code != SQLITE_OK) database.fail(code);
  statement_.reset(statement);
}

void Statement::fail() {
  sqlite3* const handle = sqlite3_db_handle(statement_.get());
  const int code = sqlite3_extended_errcode(handle);
  const std::string message = sqlite3_errmsg(handle);
  const int system_error = system_error_of(handle, code);
  reset();
  throw SqliteError(code, message, system_error);
}

int Statement::parameters() const noexcept {
  return sqlite3_bind_parameter_count(statement_.get());
}

void Statement::bind(int parameter, std::int64_t number) {
  if (sqlite3_bind_int64(statement_.get(), parameter, number) != SQLITE_OK) fail();
}

void Statement::bind(int parameter, std::string_view text) {
  // A null pointer would bind NULL instead of an empty text.
  const char* const data = text.data() == nullptr ? "" : text.data();
  if (sqlite3_bind_text(statement_.get(), parameter, data, static_cast<int>(text.size()),
                        SQLITE_STATIC) != SQLITE_OK) {
    fail();
  }
}

void Statement::bind_null(int parameter) {
  if (sqlite3_bind_null(statement_.get(), parameter) != SQLITE_OK) fail();
}

void Statement::bind_or_null(int parameter, std::string_view text) {
  if (text.empty()) return bind_null(parameter);
  bind(parameter, text);
}

bool Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) fail();
  return false;
}

void Statement::reset() noexcept {
  (void)sqlite3_reset(statement_.get());  // repeats the failure of the last step()
}

void Statement::run() {
  while (step()) {
  }
  reset();
}

bool Statement::is_null(int column) const noexcept {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::number(int column) const noexcept {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string_view Statement::text(int column) const noexcept {
  const auto* const text =
      reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

// ---- Database

void Database::Close::operator()(sqlite3* handle) const noexcept {
  sqlite3_close_v2(handle);
}

Database::Database(const std::string& path, Access access) {
  int flags = (access == Access::write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
              SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE |
              SQLITE_OPEN_PRIVATECACHE;
  std::string name = path;
  if (access == Access::peek) {
    flags |= SQLITE_OPEN_URI;
    name = immutable_uri(path);
  }
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  handle_.reset(handle);
  if (handle == nullptr) throw std::bad_alloc();
  if (code != SQLITE_OK) fail(code);
  // The file may come from an untrusted source: its schema must run no code, and a damaged page
  // must be an error.
  execute("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
}

void Database::fail(int code) {
  throw SqliteError(code, sqlite3_errmsg(handle_.get()), system_error_of(handle_.get(), code));
}

void Database::set_busy_timeout(int ms) noexcept {
  (void)sqlite3_busy_timeout(handle_.get(), ms);  // fails only where SQLite is misused
}

void Database::set_busy_handler(int (*on_busy)(void*, int), void* context) noexcept {
  (void)sqlite3_busy_handler(handle_.get(), on_busy, context);  // as above
}

void Database::set_progress_handler(int steps, int (*on_progress)(void*), void* context) noexcept {
  sqlite3_progress_handler(handle_.get(), steps, on_progress, context);
}

void Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(sqlite3_extended_errcode(handle_.get()));
}

std::int64_t Database::number(std::string_view sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.number(0) : 0;
}

std::string Database::text(std::string_view sql) {
  Statement statement(*this, sql);
  return statement.step() ? std::string(statement.text(0)) : std::string();
}

bool Database::has_header() {
  constexpr std::string_view kHeader("SQLite format 3\0", 16);
  std::array<char, kHeader.size()> begin{};
  sqlite3_file* file = nullptr;
  int code = sqlite3_file_control(get(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (code == SQLITE_OK) code = file->pMethods->xRead(file, begin.data(), begin.size(), 0);
  if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) fail(code);
  return std::string_view(begin.data(), begin.size()) == kHeader;
}

bool Database::is_read_only() const noexcept {
  return sqlite3_db_readonly(handle_.get(), "main") == 1;
}

std::int64_t Database::changes() const noexcept {
  return sqlite3_changes64(handle_.get());
}

void Database::skip_checkpoint_on_close() noexcept {
  sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

// ---- Transaction

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  database_.execute(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
}

Transaction::~Transaction() {
  // After some errors SQLite has rolled back already; a second rollback fails without harm.
  if (is_open_) sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.execute("COMMIT");
  is_open_ = false;
}

}  // namespace waystation
