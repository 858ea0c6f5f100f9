// CivetWeb, as this server runs it: it greets, the relay talks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "embed/addresses.hpp"
#include "embed/log.hpp"
#include "embed/parked_thread.hpp"
#include "embed/site.hpp"

struct mg_context;
struct mg_connection;
struct waystation_relay;

namespace waystation::server {

/// A running CivetWeb that serves a site. The relay's routes are attached to its context().
class WebServer {
 public:
  /// Listens, but lets no request in before open(). Throws std::runtime_error with a line that
  /// names the address and the reason. `log` must outlive it.
  WebServer(const std::vector<ListenAddress>& listen, std::shared_ptr<const Site> site, Log& log);
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  /// Whether the CivetWeb that is linked can listen on IPv6 addresses. Debian 12's cannot.
  static bool has_ipv6();

  mg_context* context() const { return context_; }

  /// Serves the site for every path that has no handler yet, and lets requests in. To be called
  /// once, when the relay is attached: the one whose check of host and origin covers the site, too.
  /// It must outlive the last call of end_slow_connections().
  void open(waystation_relay* relay);

  /// What it listens on, with the ports that were picked.
  const std::vector<ListenAddress>& listeners() const { return listeners_; }

  /// Ends connections that keep all workers waiting while others wait for one. To be called twice a
  /// second, from open() to begin_stop(). One thread at a time.
  void end_slow_connections();

  /// Serves another site from the next request on. Any thread.
  void replace_site(std::shared_ptr<const Site> site);

  /// Takes no connection any more and lets the workers finish, on a thread of its own that was made
  /// at the start. Returns at once. Legal twice.
  void begin_stop() noexcept { stopper_.start(); }

  /// begin_stop(), and waits for the end of it. Legal twice.
  void stop() noexcept;

 private:
  static int on_begin(mg_connection* connection);
  static int on_request(mg_connection* connection, void* self);
  static int on_error(mg_connection* connection, int status, const char* text);
  static int on_log(const mg_connection* connection, const char* text);

  std::shared_ptr<const Site> site();
  void serve(mg_connection* connection);
  static int on_connection(const mg_connection* connection, void** data);
  static void on_close(const mg_connection* connection);
  static void on_context(const mg_context* context);
  static void* on_thread_start(const mg_context* context, int type);
  static void check_addresses(const std::vector<ListenAddress>& listen);
  void check_threads();
  void find_listening_sockets();
  void stop_civetweb() noexcept;

  Log& log_;
  std::mutex site_mutex_;
  std::shared_ptr<const Site> site_;
  std::vector<ListenAddress> listeners_;
  bool has_context_ = false;  // CivetWeb's start came as far as its threads
  std::mutex start_mutex_;    // guards the next two
  unsigned threads_started_ = 0;
  std::string start_messages_;  // CivetWeb's own, from any of its threads, while it starts
  std::condition_variable thread_started_;
  waystation_relay* relay_ = nullptr;
  std::uint32_t relay_id_ = 0;
  std::vector<int> listening_sockets_;  // CivetWeb's descriptors of them
  std::atomic<bool> is_open_{false};
  std::atomic<unsigned> busy_workers_{0};
  std::atomic<mg_context*> context_ = nullptr;
  ParkedThread stopper_{"stop-civetweb", [this] { stop_civetweb(); }};  // ends before the others
};

}  // namespace waystation::server
