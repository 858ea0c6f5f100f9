// Taking rows out of an audit by hand.
#pragma once

#include <cstdint>
#include <string>

#include "audit/audit_reader.hpp"

namespace waystation {

/// Takes rows out of a file that a server may be writing at the same time, in small steps, and
/// gives their room back. Gaps go only where the filter names no user, and no outcome but theirs,
/// and only those that lie within its time as a whole: one that reaches beyond still says that
/// something is missing there. `count` (may be null) keeps up with how many went, which is
/// returned. Throws as AuditReader.
std::uint64_t prune_audit(const std::string& path, const AuditFilter& filter,
                          std::uint64_t* count = nullptr);

}  // namespace waystation
