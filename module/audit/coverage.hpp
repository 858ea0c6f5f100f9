// What an audit's file records about the rows that were deleted from it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "audit/sqlite.hpp"

namespace waystation {

/// The first schema version with the table `coverage`, and with keys of messages.
inline constexpr int kCoverageVersion = 3;

/// Rows that were deleted in one transaction, but not because a user was named. Afterwards the file
/// can no longer answer for their time.
class DeletedRows {
 public:
  /// A row of the time `at`, in ms since 1970; of a gap, its end.
  void add(std::int64_t at, std::int64_t id) noexcept {
    newest_ = is_empty() ? at : std::max(newest_, at);
    highest_id_ = std::max(highest_id_, id);
  }
  bool is_empty() const noexcept { return highest_id_ == 0; }

  /// The parameters are those of record().
  static constexpr const char* kRecord =
      "UPDATE coverage SET complete_since = max(complete_since, ?1 + 1), "
      "deleted_id = max(deleted_id, ?2)";

  /// Runs `record`, the statement kRecord, in the transaction of the deletion, if a row was
  /// deleted. Throws SqliteError.
  void record(Statement& record) const {
    if (is_empty()) return;
    record.bind(1, newest_);
    record.bind(2, highest_id_);
    record.run();
  }

 private:
  std::int64_t newest_ = 0;
  std::int64_t highest_id_ = 0;
};

}  // namespace waystation
