#include "embed/web_server.hpp"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <waystation/civetweb.h>
#include <waystation/civetweb_openssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "embed/descriptors.hpp"
#include "embed/openssl.hpp"
#include "embed/relay_options.hpp"
#include "embed/responses.hpp"

namespace waystation::server {
namespace {

// Timeout for a request's header, then for each read of the body, and for a write without progress.
constexpr const char* kRequestTimeoutMs = "5000";

// Long enough for a browser to fetch the next file over the same connection. Short enough that idle
// connections do not occupy the workers.
constexpr const char* kKeepAliveTimeoutMs = "250";

// A keep-alive connection returns to the queue after this time. A page loads faster than that, and
// a client with many requests would otherwise occupy a worker.
constexpr std::chrono::milliseconds kKeepAliveFor{5000};

// Maximum number of connections that CivetWeb has not accepted yet. After a restart, thousands of
// clients reconnect within two seconds.
constexpr const char* kListenBacklog = "4096";

// How long the kernel keeps a connection back whose client sends nothing. It rounds this up to
// seven seconds, the time of its third answer to the client.
constexpr int kDeferSeconds = 5;

// A new connection waits for two periods of the check for slow connections at most. The short
// period is for the time after all workers were busy.
constexpr std::chrono::milliseconds kSlowCheckPeriod{500};
constexpr std::chrono::milliseconds kCrowdedCheckPeriod{50};
constexpr std::chrono::seconds kCrowdedFor{2};

// The workers and the accepting thread.
constexpr unsigned kThreads = kWorkers + 1;

// CivetWeb does not report a thread that it could not create, so check_threads() counts them.
constexpr std::chrono::seconds kThreadsStartWithin{5};

// A type of thread: see init_thread in civetweb.h.
constexpr int kWorkerThread = 1;

/// Lowers the priority of the calling worker: messages come before upgrades. After a restart
/// thousands of clients connect at once. Workers still get a quarter of a busy processor: with
/// less, clients would seem slow that only wait for a worker. On Linux a nice value belongs to one
/// thread.
void lower_priority() noexcept {
  constexpr int kNice = 5;
  if (getpriority(PRIO_PROCESS, 0) < kNice) (void)setpriority(PRIO_PROCESS, 0, kNice);
}

std::string too_few_threads(unsigned started) {
  return "cannot start CivetWeb's threads: only " + std::to_string(started) + " of " +
         std::to_string(kThreads) + " started; " + std::string{kAllowMoreThreads};
}

std::string_view view(const char* text) {
  return text ? std::string_view{text} : "";
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 40> text{};
  std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text.data();
}

/// Whether this thread is a worker that has a connection. CivetWeb's callbacks of a connection all
/// run on its worker.
thread_local bool has_connection = false;

/// The socket of this thread's last TLS handshake. CivetWeb knows the client's address only later.
thread_local int handshake_socket = -1;

/// The address of a socket's peer, for the log. Unknown if the peer has reset the connection.
std::string peer_of(int socket) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  std::array<char, NI_MAXHOST> text{};
  auto* const address = reinterpret_cast<sockaddr*>(&peer);
  if (getpeername(socket, address, &size) != 0 ||
      getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return "unknown";
  }
  return text.data();
}

/// A line about CivetWeb's message, which mostly says that a client closed its connection.
std::string describe(std::string_view message) {
  constexpr std::string_view kHandshake = "sslize error: ";
  if (!message.starts_with(kHandshake)) return "civetweb: " + std::string{message};
  return "TLS handshake failed: " + handshake_problem(message.substr(kHandshake.size())) +
         " (client " + peer_of(handshake_socket) + ")";
}

std::intptr_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Whether the connection has used up its time with a worker. CivetWeb's user pointer of the
/// connection holds the time when a worker took it.
bool is_old(const mg_connection* connection) {
  const auto since = reinterpret_cast<std::intptr_t>(mg_get_user_connection_data(connection));
  return std::chrono::milliseconds{now_ms() - since} >= kKeepAliveFor;
}

/// Whether the kernel still accepts connections when too many wait for their client's first byte.
/// Without SYN cookies, they keep all others out. An unreadable setting counts as the default.
bool has_syn_cookies() {
  std::ifstream setting{"/proc/sys/net/ipv4/tcp_syncookies"};
  int value = 1;
  return !(setting >> value) || value != 0;
}

/// A socket address to bind or connect to.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  explicit SocketAddress(const ListenAddress& address) {
    if (address.is_v6) {
      sockaddr_in6 v6{};
      v6.sin6_family = AF_INET6;
      v6.sin6_port = htons(address.port);
      inet_pton(AF_INET6, address.address.c_str(), &v6.sin6_addr);
      std::memcpy(&storage, &v6, length = sizeof v6);
    } else {
      sockaddr_in v4{};
      v4.sin_family = AF_INET;
      v4.sin_port = htons(address.port);
      inet_pton(AF_INET, address.address.c_str(), &v4.sin_addr);
      std::memcpy(&storage, &v4, length = sizeof v4);
    }
  }

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

class Socket {
 public:
  explicit Socket(const ListenAddress& address)
      : descriptor_{::socket(address.is_v6 ? AF_INET6 : AF_INET,
                             SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)} {}
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

/// Whether `descriptor` listens on `address`.
bool is_listener(int descriptor, const ListenAddress& address) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
    return false;
  }
  const SocketAddress wanted{address};
  sockaddr_storage local{};
  size = sizeof local;
  return getsockname(descriptor, reinterpret_cast<sockaddr*>(&local), &size) == 0 &&
         size == wanted.length && std::memcmp(&local, wanted.get(), size) == 0;
}

/// The errno of an attempt to listen on `address`, or 0.
int listen_error(const ListenAddress& address) {
  const Socket socket{address};
  const int on = 1;
  if (socket.get() < 0) return errno;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const SocketAddress where{address};
  if (bind(socket.get(), where.get(), where.length) != 0) return errno;
  return ::listen(socket.get(), 1) != 0 ? errno : 0;
}

}  // namespace

bool WebServer::has_ipv6() {
  return mg_check_feature(MG_FEATURES_IPV6) != 0;
}

WebServer::WebServer(const std::vector<ListenAddress>& listen,
                     std::shared_ptr<const Certificate> certificate,
                     std::shared_ptr<const Site> site, Log& log)
    : log_{log}, site_{std::move(site)} {
  check_addresses(listen);
  std::string ports;
  for (const auto& address : listen) {
    ports += (ports.empty() ? "" : ",") + address.text() + (address.is_tls ? "s" : "");
  }
  const auto workers = std::to_string(kWorkers);
  const auto queue = std::to_string(connection_queue());

  const char* options[] = {"listening_ports",
                           ports.c_str(),  //
                           "num_threads",
                           workers.c_str(),  //
                           "connection_queue",
                           queue.c_str(),  //
                           "listen_backlog",
                           kListenBacklog,  //
                           "request_timeout_ms",
                           kRequestTimeoutMs,  //
                           "enable_keep_alive",
                           "yes",  //
                           "keep_alive_timeout_ms",
                           kKeepAliveTimeoutMs,  //
                           "tcp_nodelay",
                           "1",  //
                           "decode_url",
                           "no",  // the relay and the site decode strictly
                           "enable_directory_listing",
                           "no",  // there is no document_root either
                           "enable_auth_domain_check",
                           "no",  //
                           "access_control_allow_origin",
                           "",  // CivetWeb's default allows every origin
                           "access_control_allow_methods",
                           "",  //
                           "access_control_allow_headers",
                           "",  //
                           nullptr};

  mg_callbacks callbacks{};
  callbacks.begin_request = on_begin;
  callbacks.http_error = on_error;
  callbacks.log_message = on_log;
  callbacks.init_connection = on_connection;
  callbacks.connection_close = on_close;
  callbacks.init_context = on_context;
  callbacks.init_thread = on_thread_start;

  if (certificate) {
    tls_ = std::make_unique<TlsContext>(std::move(certificate));
    SSL_CTX_set_info_callback(tls_->get(), on_tls_event);
    callbacks.external_ssl_ctx = on_ssl_context;
    load_openssl_links();
    LibraryError error;
    error.check(waystation_civetweb_use_openssl(error));
  }
  const unsigned features = tls_ ? MG_FEATURES_TLS : 0;
  if ((mg_init_library(features) & features) != features) {
    // mg_start() would not notice, and the first connection would end the process.
    mg_exit_library();
    throw std::runtime_error{
        "TLS: this CivetWeb has no TLS, or does not work with OpenSSL 3; use a proxy for TLS"};
  }
  context_ = mg_start(&callbacks, this, options);
  if (!context_) {
    mg_exit_library();
    const std::lock_guard lock{start_mutex_};
    // After the context, only the creation of threads can fail.
    if (has_context_) throw std::runtime_error{too_few_threads(0)};
    throw std::runtime_error{"CivetWeb did not start: " + start_messages_};
  }

  // CivetWeb keeps the order of listening_ports.
  std::vector<mg_server_port> opened(listen.size());
  const int count = mg_get_server_ports(context_, static_cast<int>(opened.size()), opened.data());
  for (std::size_t i = 0; i < listen.size() && i < static_cast<std::size_t>(count); ++i) {
    listeners_.push_back(listen[i]);
    listeners_.back().port = static_cast<std::uint16_t>(opened[i].port);
  }
  find_listening_sockets();
  defer_silent_connections();
  check_threads();
}

WebServer::~WebServer() {
  stop();
}

void WebServer::open(waystation_relay* relay) {
  relay_ = relay;
  relay_id_ = waystation_id(relay);
  // Must be the last handler: it matches every path, and CivetWeb calls the first one that matches.
  mg_set_request_handler(context_, "/", on_request, this);
  is_open_ = true;
  is_open_.notify_all();
}

void WebServer::replace_certificate(std::shared_ptr<const Certificate> certificate) noexcept {
  tls_->replace(std::move(certificate));
}

void WebServer::replace_site(std::shared_ptr<const Site> site) {
  const std::lock_guard lock{site_mutex_};
  site_.swap(site);
}

std::shared_ptr<const Site> WebServer::site() {
  const std::lock_guard lock{site_mutex_};
  return site_;
}

void WebServer::stop() noexcept {
  begin_stop();
  stopper_.finish();
}

/// Allocates no memory and creates no thread.
void WebServer::stop_civetweb() noexcept {
  is_open_ = true;  // releases requests that still wait in on_begin()
  is_open_.notify_all();
  // mg_stop waits for CivetWeb's accepting thread, which polls with a timeout of two seconds.
  // Shutting down the listening sockets wakes it.
  for (const int socket : listening_sockets_) ::shutdown(socket, SHUT_RDWR);
  mg_stop(context_);
  mg_exit_library();
}

void WebServer::find_listening_sockets() {
  std::error_code no_proc;  // without /proc, the shutdown takes two seconds longer
  for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd", no_proc}) {
    const int descriptor = std::atoi(entry.path().filename().c_str());
    if (std::ranges::any_of(
            listeners_, [&](const auto& listener) { return is_listener(descriptor, listener); })) {
      listening_sockets_.push_back(descriptor);
    }
  }
}

/// Keeps a connection in the kernel until its client has sent something, so that silent connections
/// occupy no worker. Every client of HTTP sends first.
void WebServer::defer_silent_connections() {
  if (!has_syn_cookies()) return;
  for (const int socket : listening_sockets_) {
    setsockopt(socket, IPPROTO_TCP, TCP_DEFER_ACCEPT, &kDeferSeconds, sizeof kDeferSeconds);
  }
}

/// Throws if the server cannot listen on an address. CivetWeb reports neither the address nor the
/// reason. If it fails later, it keeps its listening sockets, so a check afterwards finds nothing.
void WebServer::check_addresses(const std::vector<ListenAddress>& listen) {
  for (const auto& address : listen) {
    if (const int error = listen_error(address)) {
      auto line =
          "cannot listen on " + address.text() + ": " + std::generic_category().message(error);
      if (error == EADDRINUSE)
        line += "; stop the program that uses it, or choose another address with --listen";
      if (error == EADDRNOTAVAIL) line += "; this machine has no such address";
      if (error == EACCES) line += "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
      throw std::runtime_error{line};
    }
  }
}

/// Throws if CivetWeb started fewer threads than requested. CivetWeb would run with a single
/// worker, and even without its accepting thread.
void WebServer::check_threads() {
  unsigned started = 0;
  {
    std::unique_lock lock{start_mutex_};
    if (thread_started_.wait_for(lock, kThreadsStartWithin,
                                 [&] { return threads_started_ == kThreads; })) {
      return;
    }
    started = threads_started_;
  }
  stop();
  throw std::runtime_error{too_few_threads(started)};
}

void WebServer::on_context(const mg_context* context) {
  static_cast<WebServer*>(mg_get_user_data(context))->has_context_ = true;
}

void* WebServer::on_thread_start(const mg_context* context, int type) {
  if (type == kWorkerThread) lower_priority();
  auto* self = static_cast<WebServer*>(mg_get_user_data(context));
  {
    const std::lock_guard lock{self->start_mutex_};
    ++self->threads_started_;
  }
  self->thread_started_.notify_one();
  return nullptr;
}

/// CivetWeb calls it at its start, and again at its end. The result 1 leaves the context to us.
int WebServer::on_ssl_context(void** context, void* self) {
  *context = static_cast<WebServer*>(self)->tls_->get();
  return 1;
}

/// Called by OpenSSL, at the beginning of a handshake by the worker that took the connection. An
/// adopted socket has no mg_connection any more.
void WebServer::on_tls_event(const ssl_st* connection, int where, int) {
  if ((where & SSL_CB_HANDSHAKE_START) == 0 || has_connection) return;
  const auto* owner = static_cast<const mg_connection*>(SSL_get_app_data(connection));
  if (owner == nullptr) return;
  has_connection = true;
  handshake_socket = SSL_get_fd(connection);
  ++static_cast<WebServer*>(mg_get_user_data(mg_get_context(owner)))->busy_workers_;
}

/// Called when a worker takes a connection, before it reads a request, but after a TLS handshake.
int WebServer::on_connection(const mg_connection* connection, void** data) {
  auto* self = static_cast<WebServer*>(mg_get_user_data(mg_get_context(connection)));
  if (!has_connection) ++self->busy_workers_;
  has_connection = true;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): never dereferenced
  *data = reinterpret_cast<void*>(now_ms());
  return 0;
}

void WebServer::on_close(const mg_connection* connection) {
  if (!has_connection) return;  // neither on_tls_event() nor on_connection() ran
  auto* self = static_cast<WebServer*>(mg_get_user_data(mg_get_context(connection)));
  has_connection = false;
  --self->busy_workers_;
}

std::chrono::milliseconds WebServer::end_slow_connections() {
  const auto now = std::chrono::steady_clock::now();
  if (busy_workers_ >= kWorkers) {
    last_crowded_ = now;
    const auto ended = waystation_civetweb_end_slow_connections(relay_, context_);
    if (ended != 0) {
      log_.debug("slow connections: " + std::to_string(ended) +
                 " occupied the workers and were closed");
    }
  }
  return now - last_crowded_ < kCrowdedFor ? kCrowdedCheckPeriod : kSlowCheckPeriod;
}

int WebServer::on_begin(mg_connection* connection) {
  // CivetWeb accepts connections before the handlers are attached. Such a request waits for open().
  auto* const self = static_cast<WebServer*>(mg_get_user_data(mg_get_context(connection)));
  self->is_open_.wait(false);
  // Before any handler, so that no handler decides on an incomplete header.
  if (const int status = waystation_civetweb_check(connection); status != 0) {
    return waystation_civetweb_reject(connection, self->relay_id_, status);
  }
  // A request without header fields may be truncated. It is refused for its missing Host. Closing
  // the connection also prevents that the rest is read as the next request.
  if (is_old(connection) || mg_get_request_info(connection)->num_headers == 0) {
    mg_disable_connection_keep_alive(connection);
  }
  return 0;
}

void WebServer::send(mg_connection* connection, const SiteResponse& response, bool last) const {
  auto head = response.head + "Date: " + http_date() + "\r\n";
  const auto hsts = hsts_seconds_.load();
  // RFC 6797, section 7.2: not over plain HTTP.
  if (hsts > 0 && mg_get_request_info(connection)->is_ssl != 0) {
    head += "Strict-Transport-Security: max-age=" + std::to_string(hsts) + "\r\n";
  }
  if (last) head += "Connection: close\r\n";
  head += "\r\n";
  const auto body = response.body();
  if (mg_write(connection, head.data(), head.size()) > 0 && !body.empty()) {
    mg_write(connection, body.data(), body.size());
  }
  if (last) mg_disable_connection_keep_alive(connection);
}

int WebServer::on_request(mg_connection* connection, void* self) {
  static_cast<WebServer*>(self)->serve(connection);
  return 200;  // any value but 0 means "handled"; there is no access log
}

void WebServer::serve(mg_connection* connection) {
  waystation_civetweb_call call;
  waystation_civetweb_request(connection, &call);
  waystation_response refusal{};
  refusal.size = sizeof refusal;
  const auto checked = waystation_origin_check(relay_id_, &call.request, &refusal);
  if (checked != WAYSTATION_OK || refusal.action != WAYSTATION_ALLOWED) {
    mg_disable_connection_keep_alive(connection);
    if (refusal.action == WAYSTATION_DECLINED) {
      waystation_civetweb_refuse(connection, 500);
    } else {
      waystation_civetweb_answer(connection, &refusal);
    }
    return;
  }
  const auto* info = mg_get_request_info(connection);
  const auto current = site();  // keeps the site alive until the response is sent
  const auto response =
      current->answer({.method = view(info->request_method),
                       .path = view(info->local_uri_raw),
                       .accept = view(mg_get_header(connection, "Accept")),
                       .accept_encoding = view(mg_get_header(connection, "Accept-Encoding")),
                       .if_none_match = view(mg_get_header(connection, "If-None-Match"))});
  // Close the connection instead of reading an unexpected body: reading it has no time limit.
  const bool has_body =
      info->content_length > 0 || mg_get_header(connection, "Transfer-Encoding") != nullptr;
  send(connection, response, has_body || is_old(connection));
}

/// Responds to requests that CivetWeb refuses: requests that are malformed or too long, and upgrade
/// requests without a route. For the latter, CivetWeb's response would have no status line.
int WebServer::on_error(mg_connection* connection, int status, const char*) {
  std::string_view code = "bad_request";
  std::string_view detail = "This request cannot be answered.";
  if (status == 400) {
    detail = "This is not a well-formed HTTP request.";
  } else if (status == 404) {
    code = "not_found";
    detail = "There is nothing here.";
  } else if (status == 411) {
    detail = "Content-Length is not a number.";
  } else if (status == 413) {
    detail = "The request's header is longer than 16 KiB.";
  } else if (status == 505) {
    detail = "This server speaks HTTP/1.0 and HTTP/1.1.";
  }
  SiteResponse response;
  response.error_page = error_json(code, detail);
  response.head = status_line(status) +
                  "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
                  "Content-Length: " +
                  std::to_string(response.error_page.size()) + "\r\n";
  const auto* const self =
      static_cast<const WebServer*>(mg_get_user_data(mg_get_context(connection)));
  self->send(connection, response, true);
  return 0;
}

int WebServer::on_log(const mg_connection* connection, const char* text) {
  auto* self = static_cast<WebServer*>(mg_get_user_data(mg_get_context(connection)));
  if (!self) return 0;
  if (!self->context_) {
    const std::lock_guard lock{self->start_mutex_};
    self->start_messages_ += std::string{view(text)} + "; ";
  } else if (self->log_.writes(LogLevel::debug)) {
    self->log_.debug(describe(view(text)));
  }
  return 1;
}

}  // namespace waystation::server
