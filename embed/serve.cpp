#include "embed/serve.hpp"

#include "embed/accepted_connections.hpp"

#define WAYSTATION_CIVETWEB_DESCRIPTOR(connection) \
  waystation::server::accepted_descriptor(connection)
#include <waystation/civetweb.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "embed/addresses.hpp"
#include "embed/descriptors.hpp"
#include "embed/door.hpp"
#include "embed/exit_deadline.hpp"
#include "embed/log.hpp"
#include "embed/metrics.hpp"
#include "embed/relay.hpp"
#include "embed/relay_options.hpp"
#include "embed/service_manager.hpp"
#include "embed/site.hpp"
#include "embed/tls_options.hpp"
#include "embed/web_server.hpp"

namespace waystation::server {
namespace {

using namespace std::chrono_literals;

// The shutdown takes at most five seconds: draining the sockets, about 1.8 s for the audit's rows,
// and the rest.
constexpr std::uint32_t kDrainMs = 2500;
constexpr auto kStopWithin = 4500ms;

// Maximum delay of the report about suppressed log lines.
constexpr std::chrono::milliseconds kLogReportPeriod = 30s;

/// The signals that the serving thread waits for. They are blocked before any thread starts, so
/// every thread inherits the mask and none is interrupted.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
      sigaddset(&set_, signal);
      // A shell starts background jobs with SIGINT ignored, and sigtimedwait() never returns an
      // ignored signal.
      std::signal(signal, SIG_DFL);
    }
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    // If the audit's file reaches the size limit, the write fails and the chat goes on.
    std::signal(SIGXFSZ, SIG_IGN);
  }

  /// The next signal, or 0 if none arrived within `period`.
  int wait(std::chrono::milliseconds period) const {
    const timespec timeout{.tv_sec = period.count() / 1000,
                           .tv_nsec = period.count() % 1000 * 1'000'000};
    return std::max(sigtimedwait(&set_, nullptr, &timeout), 0);
  }

 private:
  sigset_t set_{};
};

std::vector<ListenAddress> listeners_of(const Settings& settings) {
  std::vector<ListenAddress> listeners;
  for (const auto& text : settings.list("listen")) listeners.push_back(*parse_listen_address(text));
  return listeners;
}

Certificate::Time now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

/// The result of all checks.
struct Checked {
  std::vector<std::string> library_warnings;  // which a relay also logs when it starts
  std::vector<std::string> tls_warnings;
  std::shared_ptr<const Certificate> certificate;  // null without TLS
};

/// Runs all checks. Throws ConfigurationError with all mistakes.
Checked check(Configuration& configuration) {
  Checked checked;
  checked.library_warnings = check_configuration(configuration);
  if (!configuration.mistakes.contains("listen")) {
    for (const auto& text : configuration.settings.list("listen")) {
      if (!parse_listen_address(text)->is_v6 || WebServer::has_ipv6()) continue;
      configuration.add_mistake("listen", "listen = " + quoted(std::string_view{text}) +
                                              ": CivetWeb was built without IPv6; "
                                              "allowed: an IPv4 address, or nginx in front");
    }
  }
  checked.certificate = check_tls(configuration, now(), checked.tls_warnings);
  check_door(configuration);
  configuration.throw_mistakes();
  return checked;
}

/// A line about the certificate of new connections.
std::string validity(const Settings& settings, const Certificate& certificate) {
  return "tls_certificate = " + quoted(std::string_view{settings.text("tls_certificate")}) +
         ": new connections use the certificate that expires on " + to_text(certificate.expires());
}

/// Warns of a certificate that expires soon, once a day.
class ExpiryWatch {
 public:
  void look(const Settings& settings, const Certificate& certificate, Log& log) {
    const auto time = std::chrono::steady_clock::now();
    if (warned_at_ && time - *warned_at_ < 24h) return;
    const auto warning = expiry_warning(settings, certificate, now());
    if (warning.empty()) return;
    log.warning(warning);
    warned_at_ = time;
  }

 private:
  std::optional<std::chrono::steady_clock::time_point> warned_at_;
};

/// The folder of `www`, as it was read.
struct Page {
  std::shared_ptr<const Site> site;  // null if the folder cannot be served
  std::string problem;               // then: the reason, and what to do
  std::vector<std::string> remarks;  // about files that are skipped
};

/// Reads the folder of `www`. A folder that cannot be served is no mistake in the configuration:
/// the chat works without a page, and the page may be about to be built again.
Page read_page(const Settings& settings) {
  Page page;
  const auto& folder = settings.text("www");
  try {
    page.site = std::make_shared<Site>(folder.empty() ? Site{} : Site::read(folder, page.remarks));
  } catch (const std::exception& error) {
    page.problem = "www = " + quoted(std::string_view{folder}) +
                   " cannot be served: " + error.what() +
                   "; build the page (npm ci && npm run build in www/) or name another folder";
  }
  return page;
}

/// Logs which page is served from now on.
void log_page(const Page& page, const Settings& settings, Log& log) {
  const auto& folder = settings.text("www");
  if (folder.empty()) return log.info("www is empty: no page is served");
  for (const auto& remark : page.remarks) log.warning("www: " + remark);
  log.info("www: " + std::to_string(page.site->file_count()) + " files, " +
           std::to_string(page.site->byte_count()) + " bytes from " + folder);
}

/// The site of a start.
std::shared_ptr<const Site> first_site(const Settings& settings, Log& log) {
  const auto page = read_page(settings);
  if (page.site) {
    log_page(page, settings, log);
    return page.site;
  }
  log.error(page.problem);
  return std::make_shared<Site>(
      "The page is missing, but the relay runs. Build the page with npm ci and npm run build in "
      "www/, or start the server with --www and the path of a folder with a page.");
}

void warn_about_descriptor_limit(const Settings& settings, std::uint64_t limit, Log& log) {
  const std::uint64_t own = own_descriptors();
  const auto connections = settings.number("max_connections");
  if (limit >= connections + own) return;
  log.warning("max_connections = " + std::to_string(connections) +
              ": more than this process can open; its limit is " + std::to_string(limit) +
              " descriptors, and the server needs " + std::to_string(own) +
              " of them itself; raise the limit (ulimit -Hn, or LimitNOFILE in a service)");
}

/// Prints the listen addresses. Nothing else is written to standard output.
void announce(const WebServer& server) {
  for (const auto& listener : server.listeners()) {
    std::printf("waystation: listening on %s\n", listener.url().c_str());
  }
  std::fflush(stdout);
}

void configure(Log& log, const Settings& settings) {
  log.configure(parse_log_level(settings.text("log_level")), settings.text("log_format") == "json");
}

/// Reads the configuration, its keys, the certificate and the page again, and applies what can
/// change at run time. Applies nothing if there is a mistake. A page that cannot be served does not
/// replace the one in use.
void reload(const ConfigurationSources& sources, Configuration& current,
            std::shared_ptr<const Certificate>& certificate, waystation_relay* relay,
            WebServer& server, Metrics& metrics, Log& log) {
  Configuration next;
  Checked checked;
  Page page;
  bool is_applying = false;
  std::vector<std::string> changes;
  std::vector<std::string> deferred;
  try {
    next = read_configuration(sources);
    const auto warnings = check(next).tls_warnings;
    page = read_page(next.settings);
    if (!page.site) next.settings.set(*find_option("www"), current.settings.text("www"));
    for (const auto& option : all_options()) {
      const auto before = current.settings.value(option);
      const auto after = next.settings.value(option);
      if (before == after) continue;
      auto& list = option.is_live ? changes : deferred;
      list.push_back(option.key + ": " + to_shown_toml(option, before) + " becomes " +
                     to_shown_toml(option, after));
      if (!option.is_live) next.settings.set(option, before);
    }
    // Check again with the options that need a restart at their old values. For example, the open
    // mode may be allowed with the new listeners, but not with the current ones.
    checked = check(next);
    checked.tls_warnings = warnings;
    is_applying = true;
    reconfigure_relay(relay, LibraryOptions{next.settings});
  } catch (const ConfigurationError& error) {
    for (const auto& line : error.lines()) log.error("SIGHUP: nothing was changed: " + line);
    return;
  } catch (const std::exception& error) {
    log.error(std::string{"SIGHUP: "} +
              (is_applying ? "only some options may be applied; send SIGHUP again: "
                           : "nothing was changed: ") +
              error.what());
    return;
  }
  for (const auto& warning : next.warnings) log.warning(warning);
  for (const auto& warning : checked.tls_warnings) log.warning(warning);
  if (changes.empty() && deferred.empty()) {
    log.info("SIGHUP: the configuration and its keys were reloaded; no option has changed");
  }
  if (checked.certificate) {
    // Also if only its intermediates or its key have changed.
    server.replace_certificate(checked.certificate);
    metrics.set_certificate_expiry(checked.certificate->expires());
    if (!checked.certificate->is_same(*certificate)) {
      log.info("SIGHUP: " + validity(next.settings, *checked.certificate));
    }
    certificate = std::move(checked.certificate);
  }
  for (const auto& change : changes) log.info("SIGHUP: " + change);
  for (const auto& change : deferred) log.warning("SIGHUP: " + change + ", after a restart only");
  current = std::move(next);
  configure(log, current.settings);
  server.set_hsts_seconds(current.settings.number("tls_hsts_seconds"));
  if (page.site) {
    log_page(page, current.settings, log);
    server.replace_site(page.site);
  } else {
    log.error("SIGHUP: the page was not changed: " + page.problem);
  }
}

/// Resets systemd's watchdog if the reactor thread answers.
void feed_watchdog(waystation_relay* relay, std::chrono::milliseconds period, Log& log) {
  const auto deadline = static_cast<std::uint32_t>(period.count());
  if (waystation_presence(relay, "watchdog", deadline, nullptr) == WAYSTATION_OK) {
    notify_alive();
  } else {
    log.error("the relay did not answer within " + std::to_string(deadline) + " ms");
  }
}

/// Shuts down: accepts no new connection, and closes the open sockets with 1001.
void drain(WebServer& server, RelayHandle& relay) {
  server.begin_stop();
  waystation_drain(relay.get(), kDrainMs);
  server.stop();
  relay.reset();
}

/// Waits until this node has entered its cluster, or its servers are not reached in time. Throws
/// std::runtime_error if another node that is alive has its name, or settings that do not fit.
void await_cluster(const waystation_relay* relay) {
  constexpr auto kPatience = 3s;
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    waystation_stats stats{};
    stats.size = sizeof stats;
    waystation_stats_read(relay, &stats);
    if (stats.cluster_name_taken != 0) {
      throw std::runtime_error{
          "node_name: another node of the cluster that is connected has the same name; give each "
          "node a different name"};
    }
    if (stats.cluster_settings_differ != 0) {
      throw std::runtime_error{
          "cluster: the settings of this node do not fit those of another node; the error before "
          "this one says which, and what to do"};
    }
    if (stats.cluster_engines_ready == stats.cluster_engines) return;
    if (std::chrono::steady_clock::now() > until) return;
    std::this_thread::sleep_for(10ms);
  }
}

/// Serves until SIGTERM or SIGINT. Throws ConfigurationError if the relay refuses an option, and
/// std::runtime_error if a resource is missing.
void serve(const ConfigurationSources& sources, Configuration& configuration,
           std::shared_ptr<const Certificate> certificate, const Signals& signals, Log& log) {
  const auto& settings = configuration.settings;
  ExitDeadline exit_deadline{[&log] {
    log.warning("shutdown: a request or a write of the audit did not end in time; exiting anyway");
  }};
  LibraryOptions options{settings};
  auto relay = start_relay(options, log);
  await_cluster(relay.get());
  Metrics metrics{relay.get()};
  WebServer server{listeners_of(settings), certificate, first_site(settings, log), log};
  server.set_hsts_seconds(settings.number("tls_hsts_seconds"));
  if (certificate) metrics.set_certificate_expiry(certificate->expires());
  waystation_civetweb_attach(relay.get(), server.context());
  waystation_civetweb_attach_api(relay.get(), server.context());
  metrics.attach(server.context());
  const auto door = Door::open(settings.text("handover"), settings.text("handover_group"));
  if (door) {
    door->connect(relay.get());
    log.info("handover: web servers hand over connections through " + door->name());
  }
  server.open(relay.get());
  announce(server);
  if (certificate) log.info(validity(settings, *certificate));
  log.info("waystation " + std::string{waystation_version()} +
           " is ready, auth = " + settings.text("auth"));

  notify_ready();
  const auto watchdog = watchdog_period();
  const auto period = std::min(watchdog.value_or(kLogReportPeriod), kLogReportPeriod);
  auto next_turn = std::chrono::steady_clock::now() + period;
  ExpiryWatch expiry_watch;
  int signal = 0;
  for (;;) {
    if (certificate) expiry_watch.look(settings, *certificate, log);
    signal = signals.wait(server.end_slow_connections());
    if (signal == SIGTERM || signal == SIGINT) break;
    const auto time = std::chrono::steady_clock::now();
    if (signal == 0 && time < next_turn) continue;
    next_turn = time + period;
    if (signal == SIGHUP) {
      notify_reloading();
      reload(sources, configuration, certificate, relay.get(), server, metrics, log);
      notify_ready();
    }
    if (watchdog) feed_watchdog(relay.get(), *watchdog, log);
    log.report_suppressed();
  }
  exit_deadline.set(std::chrono::steady_clock::now() + kStopWithin);
  notify_stopping();
  log.info(signal == SIGINT ? "SIGINT: draining" : "SIGTERM: draining");
  drain(server, relay);
  log.info("stopped");
}

/// Tries the servers of `cluster`. Returns the exit code.
int check_online(const Settings& settings) {
  constexpr std::uint32_t kDeadlineMs = 5000;
  bool has_findings = false;
  const auto print = [](void* data, waystation_log_level severity,
                        const waystation_error* finding) {
    *static_cast<bool*>(data) = true;
    const char* const kind = severity == WAYSTATION_LOG_ERROR     ? "error: "
                             : severity == WAYSTATION_LOG_WARNING ? "warning: "
                                                                  : "";
    std::fprintf(severity == WAYSTATION_LOG_INFO ? stdout : stderr, "waystation: %s%s\n", kind,
                 finding->message);
    return 1;
  };
  const LibraryOptions options{settings};
  const auto status = waystation_cluster_check(options.get(), kDeadlineMs, print, &has_findings);
  if (status == WAYSTATION_OK) {
    if (!has_findings) std::printf("waystation: cluster is empty, so no server was tried\n");
    return 0;
  }
  if (!has_findings) {
    std::fprintf(stderr, "waystation: error: cluster: its servers were not tried: %s; try again\n",
                 waystation_status_text(status));
  }
  return 1;
}

}  // namespace

int serve(const ConfigurationSources& sources) {
  auto configuration = read_configuration(sources);
  const auto& settings = configuration.settings;
  const Signals signals;
  Log log{LogLevel::info, false};
  configure(log, settings);
  Checked checked;
  try {
    checked = check(configuration);
  } catch (const ConfigurationError& error) {
    if (settings.text("log_format") == "text") throw;
    for (const auto& line : error.lines()) log.error(line);
    return kUsageError;
  }
  try {
    for (const auto& warning : configuration.warnings) log.warning(warning);
    for (const auto& warning : checked.tls_warnings) log.warning(warning);
    warn_about_descriptor_limit(settings, raise_descriptor_limit(), log);
    serve(sources, configuration, checked.certificate, signals, log);
    return 0;
  } catch (const ConfigurationError& error) {
    for (const auto& line : error.lines()) log.error(line);
    return kUsageError;
  } catch (const std::exception& error) {
    log.error(error.what());
    return kFailed;
  }
}

int config_check(const ConfigurationSources& sources, bool is_online) {
  auto configuration = read_configuration(sources);
  const auto checked = check(configuration);
  auto warnings = configuration.warnings;
  std::ranges::copy(checked.library_warnings, std::back_inserter(warnings));
  std::ranges::copy(checked.tls_warnings, std::back_inserter(warnings));
  if (checked.certificate) {
    const auto expiry = expiry_warning(configuration.settings, *checked.certificate, now());
    if (!expiry.empty()) warnings.push_back(expiry);
  }
  const auto page = read_page(configuration.settings);
  if (!page.site) warnings.push_back(page.problem);
  for (const auto& remark : page.remarks) warnings.push_back("www: " + remark);
  for (const auto& warning : warnings) {
    std::fprintf(stderr, "waystation: warning: %s\n", warning.c_str());
  }
  const int status = is_online ? check_online(configuration.settings) : 0;
  if (status == 0) std::printf("waystation: the configuration is good\n");
  return status;
}

int config_show(const ConfigurationSources& sources) {
  auto configuration = load_configuration(sources);
  check_configuration(configuration);
  const auto text = show_configuration(configuration);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace waystation::server
