// The load generator: loads one server with one scenario and prints the results as one JSON object.
// If a reply is wrong, it prints the reason on standard error and exits with 1.

#include <sched.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <system_error>

#include "load.hpp"
#include "storm.hpp"

namespace {

using namespace waystation::load;

void print(const LoadOptions& options, const LoadReport& report, int realtime) {
  const auto micro = [&](double share) {
    return static_cast<double>(report.latency.quantile(share)) / 1000;
  };
  const auto per_second =
      report.seconds > 0 ? static_cast<double>(report.messages) / report.seconds : 0;
  std::printf("{\"route\":\"%s\",\"pairs\":%u,\"window\":%u,\"bytes\":%u,\"rate\":%.0f,",
              options.route == Route::chat ? "chat" : "push", options.pairs, options.window,
              options.bytes, options.rate);
  std::printf("\"messages\":%llu,\"seconds\":%.3f,\"messages_per_second\":%.1f,\"late\":%llu,",
              static_cast<unsigned long long>(report.messages), report.seconds, per_second,
              static_cast<unsigned long long>(report.late));
  std::printf("\"messages_in_all\":%llu,", static_cast<unsigned long long>(report.messages_in_all));
  std::printf("\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f},",
              micro(0.5), micro(0.9), micro(0.99), micro(0.999), micro(1));
  std::printf("\"server_user_seconds\":%.2f,\"server_system_seconds\":%.2f,",
              report.server_user_seconds, report.server_system_seconds);
  std::printf("\"engine_user_seconds\":%.2f,\"engine_system_seconds\":%.2f,",
              report.engine.user_seconds, report.engine.system_seconds);
  std::printf("\"engine_kib\":{\"before\":%llu,\"after\":%llu},",
              static_cast<unsigned long long>(report.engine_kib_before),
              static_cast<unsigned long long>(report.engine.resident_kib));
  std::printf("\"generator_cpu_seconds\":%.2f,\"pings\":%llu,", report.generator_cpu_seconds,
              static_cast<unsigned long long>(report.pings));
  std::printf("\"sockets\":%u,\"connect_seconds\":%.3f,\"connects_per_second\":%.1f,",
              report.sockets, report.connect_seconds, report.sockets / report.connect_seconds);
  std::printf("\"connect_cpu_seconds\":%.2f,\"storm_seconds\":%.3f,", report.connect_cpu_seconds,
              report.storm_seconds);
  std::printf("\"first_thousand_seconds\":%.3f,\"last_thousand_seconds\":%.3f,",
              report.first_thousand_seconds, report.last_thousand_seconds);
  std::printf("\"resident_kib\":{\"before\":%llu,\"open\":%llu,\"after\":%llu},",
              static_cast<unsigned long long>(report.resident_kib_before),
              static_cast<unsigned long long>(report.resident_kib_open),
              static_cast<unsigned long long>(report.resident_kib_after));
  std::printf("\"stalled\":%u,\"stalled_ended\":%u,\"realtime\":%d}\n", options.stalled,
              report.stalled_ended, realtime);
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/// From here on this process waits for no other one: it measures the server's delays, not its own.
void set_realtime(int priority) {
  const sched_param parameter{priority};
  if (sched_setscheduler(0, SCHED_FIFO, &parameter) != 0) {
    throw std::system_error(errno, std::system_category(), "--realtime, which needs root");
  }
}

}  // namespace

int main(int argc, char** argv) {
  LoadOptions options;
  options.server.source_addresses = 16;
  std::string key_file;
  CLI::App app{"Loads one server on 127.0.0.1 and verifies every reply."};
  app.add_option("--port", options.server.port)->required();
  app.add_option("--addresses", options.server.source_addresses, "source addresses, taken in turn")
      ->check(CLI::Range(1U, 200U));
  app.add_option("--second-port", options.second_port,
                 "of a second node: the two users of a pair connect to different nodes");
  app.add_option("--pid", options.pids, "of the server, or of each node");
  app.add_option("--engine-pid", options.engine_pid, "of the server that the nodes share");
  app.add_option("--route", options.route, "chat or push")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Route>{{"chat", Route::chat}, {"push", Route::push}}));
  app.add_option("--reply", options.reply, "message, as_sent or socket_io")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, Reply>{{"message", Reply::message},
                                                               {"as_sent", Reply::as_sent},
                                                               {"socket_io", Reply::socket_io}}));
  app.add_option("--pairs", options.pairs)->check(CLI::Range(0U, 30000U));
  app.add_option("--window", options.window)->check(CLI::Range(1U, 100000U));
  app.add_option("--bytes", options.bytes)->check(CLI::Range(21U, 1U << 20));
  app.add_option("--pause", options.pause_seconds,
                 "seconds before the first message, after the sockets are open")
      ->check(CLI::Range(0., 60.));
  app.add_option("--warmup", options.warmup_seconds)->check(CLI::Range(0., 60.));
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0., 600.));
  app.add_option("--messages", options.max_messages, "at most so many");
  app.add_option("--rate", options.rate, "messages a second; 0: as fast as they come back");
  app.add_option("--idle", options.idle, "further sockets")->check(CLI::Range(0U, 60000U));
  app.add_option("--standing", options.standing,
                 "so many idle sockets are open before the time of the others is taken")
      ->check(CLI::Range(0U, 60000U));
  app.add_option("--storm", options.storm,
                 "further sockets of waystation.v1 that all connect in the measured time, which "
                 "ends when each knows a presence")
      ->check(CLI::Range(0U, 60000U));
  app.add_flag("--serve-idle", options.serve_idle,
               "each idle socket says something once all are open; chat and the original protocol");
  app.add_option("--parallel", options.parallel, "handshakes at once")
      ->check(CLI::Range(1U, 10000U));
  app.add_option("--stalled", options.stalled,
                 "pairs whose receivers stop reading, again and again")
      ->check(CLI::Range(0U, 1000U));
  app.add_option("--stall-seconds", options.stall_seconds, "for so long")
      ->check(CLI::Range(0.1, 60.));
  app.add_option("--stalled-bytes", options.stalled_bytes, "of a message to one of them")
      ->check(CLI::Range(21U, 60000U));
  app.add_option("--stalled-rate", options.stalled_rate, "messages a second to each of them")
      ->check(CLI::Range(1U, 100000U));
  app.add_option("--token-key", key_file, "file with the key (HS256) to sign tokens with");
  int realtime = 0;
  app.add_option("--realtime", realtime, "priority: preempts everything else; needs root")
      ->check(CLI::Range(1, 50));
  bool tls = false;
  app.add_flag("--tls", tls, "connect with TLS; the server is not verified");
  app.add_option(
      "--request", options.request,
      "instead of --idle sockets: that many requests for this path, each on a connection "
      "of its own");
  CLI11_PARSE(app, argc, argv);

  try {
    if (!key_file.empty()) {
      std::ifstream file(key_file);
      options.token_key = {std::istreambuf_iterator<char>(file), {}};
      while (options.token_key.ends_with('\n')) options.token_key.pop_back();
    }
    raise_descriptor_limit();
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    TlsSettings settings;
    if (tls) settings = tls_settings();
    options.server.tls = settings.get();
    std::optional<StormProcess> storm;
    if (options.storm != 0) storm.emplace(options);
    if (realtime != 0) set_realtime(realtime);
    const auto report = Load(options, storm ? &*storm : nullptr).run();
    print(options, report, realtime);
    return 0;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "waystation-load: %s\n", problem.what());
    return 1;
  }
}
