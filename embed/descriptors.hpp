// The process's limit of open descriptors: every socket takes one, and so does every connection
// that the web server has not handed over yet.
#pragma once

#include <cstdint>

namespace waystation::server {

/// CivetWeb's threads. One is busy while it reads a request and writes a page, never while a chat
/// goes on. Twenty serve thousands of pages a second; what they are a bound on is strangers who
/// keep them waiting: SECURITY.md says for how long.
inline constexpr std::uint32_t kWorkers = 20;

/// Raises the soft limit to the hard one, as a server that holds a descriptor for each socket may,
/// and returns what it is then. The library never does that: a host may use select().
std::uint64_t raise_descriptor_limit();

/// How many connections CivetWeb may have accepted that wait for one of its threads: thousands come
/// back within a second or two after a restart. An eighth of the limit, where that is less.
std::uint32_t connection_queue();

/// How many descriptors the server keeps for itself: the connections that CivetWeb holds,
/// listeners, the audit's files. Were all of them taken by chats, CivetWeb could accept none any
/// more and would try without a pause.
std::uint32_t own_descriptors();

}  // namespace waystation::server
