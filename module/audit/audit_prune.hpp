// Deleting rows of an audit on request.
#pragma once

#include <cstdint>
#include <string>

#include "audit/audit_reader.hpp"

namespace waystation {

/// Deletes rows in small steps, while a server may be writing the file, and releases their pages.
/// Returns the number of deleted rows. `*count`, unless null, is updated after each step. Throws
/// like AuditReader.
///
/// A gap is deleted only if the filter names no user and includes gaps, and the whole gap is within
/// its time. Otherwise the gap still applies to rows that the filter does not select.
std::uint64_t prune_audit(const std::string& path, const AuditFilter& filter,
                          std::uint64_t* count = nullptr);

}  // namespace waystation
