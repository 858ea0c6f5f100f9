// Reads the body of a request, with limits on size and time.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

/// The limits of a body.
struct BodyLimits {
  std::size_t max_bytes;
  /// The time for the whole body, so that a client that sends single bytes cannot occupy a thread
  /// forever. The last read may exceed it by the timeout of the source.
  std::chrono::milliseconds timeout;
};

/// The body of a request: a view into the request or into `buffer`. Reads it from the request's
/// source if there is one. Call it after the caller's permission is checked. Refused with:
///
///   - 411 length_required: Transfer-Encoding, since the size of chunk headers has no limit here
///   - 413 too_large: before anything is read
///   - 400 bad_request: Content-Length is invalid, or the body ended early
///   - 408 timeout
///
/// After a refusal the rest of the body may still arrive: close the connection.
Result<std::string_view, Refusal> read_body(const Request& request, const BodyLimits& limits,
                                            std::string& buffer);

}  // namespace waystation
