#include "embed/metrics.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>
#include <waystation/civetweb.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace waystation::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

/// A value and the labels that tell it from the others of its family.
struct Sample {
  double value;
  std::vector<ClientMetric::Label> labels;

  explicit Sample(double number, std::vector<ClientMetric::Label> pairs = {})
      : value{number}, labels{std::move(pairs)} {}
  explicit Sample(std::uint64_t number, std::vector<ClientMetric::Label> pairs = {})
      : value{static_cast<double>(number)}, labels{std::move(pairs)} {}
};

MetricFamily family(const char* name, MetricType type, const char* help,
                    const std::vector<Sample>& samples) {
  MetricFamily result{name, help, type, {}};
  for (const auto& sample : samples) {
    ClientMetric metric;
    metric.label = sample.labels;
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = sample.value;
    result.metric.push_back(std::move(metric));
  }
  return result;
}

MetricFamily gauge(const char* name, const char* help, const std::vector<Sample>& samples) {
  return family(name, MetricType::Gauge, help, samples);
}

MetricFamily counter(const char* name, const char* help, const std::vector<Sample>& samples) {
  return family(name, MetricType::Counter, help, samples);
}

/// The parts of a tally, each with its name under `label`. Nothing where there is no memory.
std::vector<Sample> parts_of(const waystation_relay* relay, waystation_tally which,
                             const char* label) {
  struct Parts {
    const char* label;
    std::vector<Sample> samples;
  } parts{label, {}};
  const auto take = [](void* into, const char* name, std::uint64_t count) {
    auto& [label_name, samples] = *static_cast<Parts*>(into);
    samples.emplace_back(count, std::vector<ClientMetric::Label>{{label_name, name}});
    return 1;
  };
  if (waystation_tally_read(relay, which, take, &parts) != WAYSTATION_OK) return {};
  return std::move(parts.samples);
}

void add_relay(const waystation_relay* relay, const waystation_figures& f,
               std::vector<MetricFamily>& families) {
  const auto add = [&](MetricFamily one) { families.push_back(std::move(one)); };
  add(gauge("waystation_build_info", "Always 1; the version is in the label.",
            {Sample{1.0, {{"version", waystation_version()}}}}));
  add(gauge(
      "waystation_sockets", "Sockets that are open, by route.",
      {Sample{f.chat_sockets, {{"route", "chat"}}}, Sample{f.push_sockets, {{"route", "push"}}}}));
  add(gauge("waystation_groups", "Groups with a socket in them.", {Sample{f.groups}}));
  add(gauge("waystation_queue_bytes", "Bytes that wait in all sockets' queues.",
            {Sample{f.queued_bytes}}));
  add(counter("waystation_sockets_accepted_total", "Sockets taken over from the web server.",
              {Sample{f.accepted}}));
  add(counter("waystation_sockets_refused_total",
              "Requests for a socket that were refused, by the code that they were answered with.",
              parts_of(relay, WAYSTATION_TALLY_SOCKETS_REFUSED, "code")));
  add(counter(
      "waystation_messages_total",
      "Messages by where they went: into the group, by push, or to nobody.",
      {Sample{f.messages_chat, {{"route", "chat"}}}, Sample{f.messages_pushed, {{"route", "push"}}},
       Sample{f.messages_undelivered, {{"route", "none"}}}}));
  add(counter("waystation_notifications_total", "The appliance's own notifications.",
              {Sample{f.notifications}}));
  add(counter("waystation_deliveries_dropped_total",
              "Deliveries that were queued for a socket that ended first, by why it ended.",
              parts_of(relay, WAYSTATION_TALLY_DELIVERIES_DROPPED, "reason")));
  add(counter(
      "waystation_sockets_closed_total",
      "Sockets that the relay gave up: too slow to read, or not heard of any more.",
      {Sample{f.closed_slow, {{"reason", "slow"}}}, Sample{f.closed_dead, {{"reason", "dead"}}}}));
  add(counter("waystation_errors_sent_total", "Error frames that clients were sent, by their code.",
              parts_of(relay, WAYSTATION_TALLY_ERRORS_SENT, "code")));
}

void add_log(const waystation_figures& f, std::vector<MetricFamily>& families) {
  families.push_back(counter("waystation_log_lines_lost_total",
                             "Lines of the relay's that came faster than the log took them.",
                             {Sample{f.log_lines_lost}}));
}

void add_audit(const waystation_figures& f, std::vector<MetricFamily>& families) {
  constexpr std::array kStates = {"off",    "starting",  "ok",   "disk_full",
                                  "locked", "read_only", "held", "failed"};
  std::vector<Sample> states;
  for (std::size_t i = 0; i < kStates.size(); ++i) {
    states.emplace_back(f.audit_state == i ? 1.0 : 0.0,
                        std::vector<ClientMetric::Label>{{"state", kStates[i]}});
  }
  const auto add = [&](MetricFamily one) { families.push_back(std::move(one)); };
  add(gauge("waystation_audit_state", "1 for the state that the audit's writing is in.", states));
  add(counter("waystation_audit_rows_written_total", "Rows committed to the audit's file.",
              {Sample{f.audit_rows_written}}));
  add(counter("waystation_audit_rows_lost_total",
              "Rows that could not be kept and are missing in the audit.",
              {Sample{f.audit_rows_lost}}));
  add(gauge("waystation_audit_rows_waiting", "Rows that wait in memory for the disk.",
            {Sample{f.audit_rows_waiting}}));
  add(gauge("waystation_audit_lag_seconds", "How long the oldest of them has been waiting.",
            {Sample{static_cast<double>(f.audit_lag_ms) / 1e3}}));
  add(gauge("waystation_audit_file_bytes", "What the audit's file takes on the disk, with its log.",
            {Sample{f.audit_file_bytes}}));
}

/// Seconds since 1970 at which this process started, by the clocks as they stand now.
double measure_start_time() {
  std::ifstream stat{"/proc/self/stat"};
  std::string line;
  std::getline(stat, line);
  // What follows the name, which may itself hold blanks and brackets; the 22nd field is the start.
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::size_t at = name_end;
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = line.find(' ', at + 1);
  if (at == std::string::npos) return 0;
  const double ticks = std::strtod(line.c_str() + at, nullptr);
  timespec since_boot{};
  clock_gettime(CLOCK_BOOTTIME, &since_boot);
  const auto now =
      std::chrono::duration<double>{std::chrono::system_clock::now().time_since_epoch()}.count();
  const double up =
      static_cast<double>(since_boot.tv_sec) + static_cast<double>(since_boot.tv_nsec) / 1e9;
  return now - up + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

/// The same at every call: to Prometheus another value is another start, and two readings of two
/// clocks never agree to the last bit.
double start_time() {
  static const double value = measure_start_time();
  return value;
}

double resident_bytes() {
  std::ifstream statm{"/proc/self/statm"};
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_descriptors() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator entry{"/proc/self/fd", error}, end;
       !error && entry != end; entry.increment(error)) {
    ++count;
  }
  return count;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

/// What Prometheus' own client libraries say of a process, under the same names.
void add_process(std::vector<MetricFamily>& families) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  families.push_back(counter("process_cpu_seconds_total", "CPU time, user and system, in seconds.",
                             {Sample{seconds(usage.ru_utime) + seconds(usage.ru_stime)}}));
  families.push_back(gauge("process_resident_memory_bytes", "Resident memory in bytes.",
                           {Sample{resident_bytes()}}));
  families.push_back(gauge("process_open_fds", "Open descriptors.", {Sample{open_descriptors()}}));
  families.push_back(gauge("process_max_fds", "Descriptors that may be open.",
                           {Sample{static_cast<double>(limit.rlim_cur)}}));
  families.push_back(gauge("process_start_time_seconds",
                           "When the process started, in seconds since 1970.",
                           {Sample{start_time()}}));
}

/// Sends a whole answer; the body is left out where a HEAD asked.
int answer(mg_connection* connection, int status, const char* reason, const char* type,
           const std::string& body, const char* more = "") {
  const auto* info = mg_get_request_info(connection);
  const std::string method = info->request_method ? info->request_method : "";
  const bool has_body =
      info->content_length > 0 || mg_get_header(connection, "Transfer-Encoding") != nullptr;
  std::string out = "HTTP/1.1 " + std::to_string(status) + " " + reason +
                    "\r\nContent-Type: " + type +
                    "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" + more +
                    "Content-Length: " + std::to_string(body.size()) + "\r\n";
  if (has_body) {  // a body that nobody wants is not read
    out += "Connection: close\r\n";
    mg_disable_connection_keep_alive(connection);
  }
  out += "\r\n";
  if (method != "HEAD") out += body;
  mg_write(connection, out.data(), out.size());
  return status;
}

std::string error_body(const char* code, const char* detail) {
  return std::string{R"({"error":{"code":")"} + code + R"(","detail":")" + detail + "\"}}\n";
}

}  // namespace

std::string Metrics::text() const {
  waystation_figures figures{};
  figures.size = sizeof figures;
  std::vector<MetricFamily> families;
  if (waystation_figures_read(relay_, &figures) == WAYSTATION_OK) {
    add_relay(relay_, figures, families);
    auto refused = parts_of(relay_, WAYSTATION_TALLY_HTTP_REFUSED, "code");
    for (auto& sample : refused) {
      const auto& code = sample.labels.front().value;
      if (code == "not_found") sample.value += static_cast<double>(not_found_);
      if (code == "method_not_allowed") sample.value += static_cast<double>(method_not_allowed_);
      if (code == "not_an_operator") sample.value += static_cast<double>(not_an_operator_);
    }
    families.push_back(
        counter("waystation_http_refused_total",
                "Requests for the HTTP API, /healthz, /metrics and the page that were "
                "refused, by the code that they were answered with.",
                refused));
    add_log(figures, families);
    add_audit(figures, families);
  }
  add_process(families);
  return prometheus::TextSerializer{}.Serialize(families);
}

void Metrics::attach(mg_context* context) {
  // Ended by '$', so that /metricsfoo is none of ours.
  mg_set_request_handler(context, "/metrics$|/metrics/$", on_request, this);
}

int Metrics::on_request(mg_connection* connection, void* self) {
  return static_cast<Metrics*>(self)->answer_request(connection);
}

int Metrics::answer_request(mg_connection* connection) {
  waystation_civetweb_call call;
  waystation_civetweb_request(connection, &call);
  const std::string target = call.request.target ? call.request.target : "";
  // CivetWeb compares without regard to case, and after tidying up.
  if (target != "/metrics" && target != "/metrics/") {
    ++not_found_;
    return answer(connection, 404, "Not Found", "application/json",
                  error_body("not_found", "there is no such route; the metrics are at /metrics"));
  }
  const std::string method = call.request.method ? call.request.method : "";
  if (method != "GET" && method != "HEAD") {
    ++method_not_allowed_;
    return answer(connection, 405, "Method Not Allowed", "application/json",
                  error_body("method_not_allowed", "allowed here is GET"), "Allow: GET, HEAD\r\n");
  }
  waystation_response refusal{};
  refusal.size = sizeof refusal;
  const auto checked = waystation_origin_check(waystation_id(relay_), &call.request, &refusal);
  if (checked != WAYSTATION_OK || refusal.action != WAYSTATION_NOT_OURS) {
    mg_disable_connection_keep_alive(connection);
    return refusal.action == WAYSTATION_NOT_OURS ? waystation_civetweb_refuse(connection, 500)
                                                 : waystation_civetweb_answer(connection, &refusal);
  }
  if (waystation_is_operator(waystation_id(relay_), &call.request) == 0) {
    ++not_an_operator_;
    return answer(
        connection, 403, "Forbidden", "application/json",
        error_body("not_an_operator", "the metrics are for clients whose address is in operators"));
  }
  return answer(connection, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", text());
}

}  // namespace waystation::server
