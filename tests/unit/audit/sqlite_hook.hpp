// Hooks into SQLite, for faults between two calls of the audit.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <functional>
#include <utility>

namespace waystation::test {

/// While it exists, calls a function after each connection is opened. At most one may exist.
class OpenHook {
 public:
  explicit OpenHook(std::function<void(sqlite3*)> f) {
    function() = std::move(f);
    sqlite3_auto_extension(reinterpret_cast<void (*)()>(&on_open));
  }
  ~OpenHook() {
    sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(&on_open));
    function() = nullptr;
  }
  OpenHook(const OpenHook&) = delete;
  OpenHook& operator=(const OpenHook&) = delete;

 private:
  static std::function<void(sqlite3*)>& function() {
    static std::function<void(sqlite3*)> kept;
    return kept;
  }
  static int on_open(sqlite3* handle, char**, const void*) {
    function()(handle);
    return SQLITE_OK;
  }
};

/// Calls a function once, during the first commit after arm().
class CommitHook {
 public:
  explicit CommitHook(std::function<void()> f)
      : f_(std::move(f)), opened_([this](sqlite3* handle) {
          sqlite3_commit_hook(handle, &CommitHook::on_commit, this);
        }) {}
  void arm() const { is_armed_ = true; }
  bool was_called() const { return was_called_; }

 private:
  static int on_commit(void* hook) {
    auto& self = *static_cast<CommitHook*>(hook);
    if (self.is_armed_.exchange(false)) {
      self.f_();
      self.was_called_ = true;
    }
    return 0;
  }

  std::function<void()> f_;
  mutable std::atomic<bool> is_armed_ = false;
  std::atomic<bool> was_called_ = false;
  OpenHook opened_;
};

}  // namespace waystation::test
