// Deleting rows of an audit on request.
#pragma once

#include <cstdint>
#include <string>

#include "audit/audit_reader.hpp"

namespace waystation {

/// Deletes rows in small steps, while a server may be writing the file, and releases their pages.
/// A gap is deleted only if the filter names no user and does not exclude gaps, and if the whole
/// gap lies within its time: otherwise it still says that rows are missing outside. `count` (may be
/// null) is kept up to date while it works; the total is returned. Throws as AuditReader.
std::uint64_t prune_audit(const std::string& path, const AuditFilter& filter,
                          std::uint64_t* count = nullptr);

}  // namespace waystation
