// The TLS sessions of web servers in this process.
#pragma once

#include <memory>

#include "reactor/tls_session.hpp"
#include "waystation/waystation.h"

namespace waystation::streams {

// See waystation_stream_use and its neighbours. Any thread.

/// False where functions for this library are in use already. Throws std::invalid_argument,
/// std::runtime_error (`watch` failed) or std::bad_alloc.
bool use(const waystation_stream_functions* functions);
void made(const waystation_stream_functions* functions, void* session) noexcept;
void gone(const void* session) noexcept;
/// Nothing is written where there is no such session.
bool find(const void* connection, waystation_stream& stream) noexcept;

/// Whether `stream` has all members that hold() needs.
bool is_complete(const waystation_stream* stream) noexcept;

/// Takes the session over, on the web server's thread. Null where it cannot be held; *problem is a
/// static text then. Throws std::bad_alloc, and nothing was held.
std::unique_ptr<TlsSession> hold(const waystation_stream& stream, const char** problem);

}  // namespace waystation::streams
