// CivetWeb as this server uses it: it accepts connections and reads requests, and the relay adopts
// the sockets.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "embed/addresses.hpp"
#include "embed/certificate.hpp"
#include "embed/log.hpp"
#include "embed/parked_thread.hpp"
#include "embed/site.hpp"
#include "embed/tls_context.hpp"

struct mg_context;
struct mg_connection;
struct waystation_relay;

namespace waystation::server {

/// A running CivetWeb that serves a site. The relay's routes are attached to its context().
class WebServer {
 public:
  /// Listens, but holds every request back until open(). `certificate` is for the addresses with
  /// TLS; null if there is none. Throws std::runtime_error with the address and the reason. `log`
  /// must outlive this object.
  WebServer(const std::vector<ListenAddress>& listen,
            std::shared_ptr<const Certificate> certificate, std::shared_ptr<const Site> site,
            Log& log);
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  /// Whether the linked CivetWeb supports IPv6. Debian 12's does not.
  static bool has_ipv6();

  mg_context* context() const { return context_; }

  /// Serves the site for every path without a handler, and lets requests in. Call it once, after
  /// the relay is attached. The relay also checks host and origin for the site. It must outlive the
  /// last call of end_slow_connections().
  void open(waystation_relay* relay);

  /// The listen addresses with their actual ports.
  const std::vector<ListenAddress>& listeners() const { return listeners_; }

  /// Closes slow connections if they occupy all workers and others wait for one. Returns when to
  /// call it again: sooner for a while after all workers were busy. Call it between open() and
  /// begin_stop(). One thread at a time.
  std::chrono::milliseconds end_slow_connections();

  /// Replaces the site for all later requests. Any thread.
  void replace_site(std::shared_ptr<const Site> site);

  /// Replaces the certificate for later handshakes. Only with a certificate since the start. Any
  /// thread.
  void replace_certificate(std::shared_ptr<const Certificate> certificate) noexcept;

  /// The max-age of Strict-Transport-Security in later responses over TLS. 0: no such field. Any
  /// thread.
  void set_hsts_seconds(std::uint64_t seconds) noexcept { hsts_seconds_ = seconds; }

  /// Stops accepting connections and lets the workers finish, on a thread created at the start.
  /// Returns at once. May be called twice.
  void begin_stop() noexcept { stopper_.start(); }

  /// Calls begin_stop() and waits for its end. May be called twice.
  void stop() noexcept;

 private:
  static int on_begin(mg_connection* connection);
  static int on_request(mg_connection* connection, void* self);
  static int on_error(mg_connection* connection, int status, const char* text);
  static int on_log(const mg_connection* connection, const char* text);

  std::shared_ptr<const Site> site();
  void serve(mg_connection* connection);
  void send(mg_connection* connection, const SiteResponse& response, bool last) const;
  static int on_ssl_context(void** context, void* self);
  static void on_tls_event(const ssl_st* connection, int where, int result);
  static int on_connection(const mg_connection* connection, void** data);
  static void on_close(const mg_connection* connection);
  static void on_context(const mg_context* context);
  static void* on_thread_start(const mg_context* context, int type);
  static void check_addresses(const std::vector<ListenAddress>& listen);
  void check_threads();
  void find_listening_sockets();
  void defer_silent_connections();
  void stop_civetweb() noexcept;

  Log& log_;
  std::unique_ptr<TlsContext> tls_;  // null without TLS
  std::atomic<std::uint64_t> hsts_seconds_{0};
  std::mutex site_mutex_;
  std::shared_ptr<const Site> site_;
  std::vector<ListenAddress> listeners_;
  bool has_context_ = false;  // CivetWeb's start reached the creation of threads
  std::mutex start_mutex_;    // guards the next two
  unsigned threads_started_ = 0;
  std::string start_messages_;  // CivetWeb's messages during its start, from any thread
  std::condition_variable thread_started_;
  waystation_relay* relay_ = nullptr;
  std::uint32_t relay_id_ = 0;
  std::vector<int> listening_sockets_;  // CivetWeb's descriptors
  std::atomic<bool> is_open_{false};
  std::atomic<unsigned> busy_workers_{0};
  std::chrono::steady_clock::time_point last_crowded_{};  // when all workers were busy
  std::atomic<mg_context*> context_ = nullptr;
  ParkedThread stopper_{"stop-civetweb", [this] { stop_civetweb(); }};  // last: destroyed first
};

}  // namespace waystation::server
