// The body of a request: whether it is read at all, and for how long.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

/// What a client may claim of us with a body.
struct BodyLimits {
  std::size_t max_bytes;
  /// From the first byte that is waited for to the last, however many come in between: a client
  /// that sends one now and then makes progress for ever. The source's own patience comes on top,
  /// once.
  std::chrono::milliseconds patience;
};

/// The request's body: a view into the request or into `buffer`. Reads it from the request's
/// source, if it has one: call it once it is known that the caller has permission.
///
/// Refused with 411 length_required (no Content-Length, but a transfer coding: how much a chunk's
/// frame takes to come is not ours to bound), 413 too_large (before anything is read),
/// 400 bad_request (no length, or it broke off), 408 timeout. After any of them there may be more
/// of the body to come: the connection must not carry another request.
Result<std::string_view, Refusal> read_body(const Request& request, const BodyLimits& limits,
                                            std::string& buffer);

}  // namespace waystation
