#include "embed/metrics.hpp"
#include "embed/responses.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>
#include <waystation/civetweb.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace waystation::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

/// A value and its labels.
struct Sample {
  double value;
  std::vector<ClientMetric::Label> labels;

  explicit Sample(double number, std::vector<ClientMetric::Label> pairs = {})
      : value{number}, labels{std::move(pairs)} {}
};

void add(MetricFamily& family, const Sample& sample) {
  ClientMetric metric;
  metric.label = sample.labels;
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = sample.value;
  family.metric.push_back(std::move(metric));
}

MetricFamily family(const char* name, MetricType type, const char* help,
                    const std::vector<Sample>& samples) {
  MetricFamily result{name, help, type, {}};
  for (const auto& sample : samples) add(result, sample);
  return result;
}

MetricFamily gauge(const char* name, const char* help, const std::vector<Sample>& samples) {
  return family(name, MetricType::Gauge, help, samples);
}

MetricFamily counter(const char* name, const char* help, const std::vector<Sample>& samples) {
  return family(name, MetricType::Counter, help, samples);
}

/// Adds the fields of waystation_stats, from the library's table.
void add_stats(const waystation_relay* relay, std::vector<MetricFamily>& families) {
  waystation_stats stats{};
  stats.size = sizeof stats;
  if (waystation_stats_read(relay, &stats) != WAYSTATION_OK) return;
  for (std::size_t i = 0; i < waystation_stat_count(); ++i) {
    waystation_stat_info info{};
    info.size = sizeof info;
    waystation_stat_at(i, &info);
    if (*info.metric == '\0') continue;
    if (families.empty() || families.back().name != info.metric) {
      const auto type = info.is_counter != 0 ? MetricType::Counter : MetricType::Gauge;
      families.push_back(family(info.metric, type, info.help, {}));
    }
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const unsigned char*>(&stats) + info.field_offset,
                sizeof value);
    Sample sample{static_cast<double>(value) / static_cast<double>(info.divisor)};
    if (*info.label != '\0') sample.labels.push_back({info.label, info.label_value});
    add(families.back(), sample);
  }
  constexpr std::array kStates = {"off",    "starting",  "ok",      "disk_full",
                                  "locked", "read_only", "blocked", "failed"};
  std::vector<Sample> states;
  for (std::size_t i = 0; i < kStates.size(); ++i) {
    states.emplace_back(stats.audit_state == i ? 1.0 : 0.0,
                        std::vector<ClientMetric::Label>{{"state", kStates[i]}});
  }
  families.push_back(
      gauge("waystation_audit_state", "1 for the state that the audit's writer is in.", states));
}

/// The samples of a counter with a label. Empty if memory runs out.
std::vector<Sample> samples_of(const waystation_relay* relay, waystation_counter counter,
                               const char* label) {
  struct Samples {
    const char* label;
    std::vector<Sample> all;
  } samples{label, {}};
  const auto visit = [](void* into, const char* value, std::uint64_t count) {
    auto& [label_name, all] = *static_cast<Samples*>(into);
    all.emplace_back(static_cast<double>(count),
                     std::vector<ClientMetric::Label>{{label_name, value}});
    return 1;
  };
  if (waystation_counter_read(relay, counter, visit, &samples) != WAYSTATION_OK) return {};
  return std::move(samples.all);
}

/// Puts the buckets of a histogram, which the library gives as a counter with the label `le`, and
/// its sum among `families` together. Without buckets, the histogram and its sum are left out.
void add_histogram(const waystation_counter_info& info, const std::vector<Sample>& buckets,
                   std::vector<MetricFamily>& families) {
  std::string name = info.metric;
  name.resize(name.size() - std::strlen("_bucket"));
  double sum = 0;
  std::erase_if(families, [&](const MetricFamily& one) {
    if (one.name != name + "_sum") return false;
    sum = one.metric.front().counter.value;
    return true;
  });
  if (buckets.empty()) return;
  ClientMetric metric;
  metric.histogram.sample_sum = sum;
  metric.histogram.sample_count = static_cast<std::uint64_t>(buckets.back().value);
  for (const auto& bucket : buckets) {
    metric.histogram.bucket.push_back({static_cast<std::uint64_t>(bucket.value),
                                       std::strtod(bucket.labels.front().value.c_str(), nullptr)});
  }
  families.push_back({name, info.help, MetricType::Histogram, {metric}});
}

/// The start time of this process in seconds since 1970, from the current clocks.
double measure_start_time() {
  std::ifstream stat{"/proc/self/stat"};
  std::string line;
  std::getline(stat, line);
  // The name may hold blanks and brackets, so skip it by its last bracket. Field 22 is the start.
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

/// Measured once: two measurements differ slightly, and Prometheus reads a new value as a restart.
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

/// The process metrics of Prometheus' client libraries, with the same names.
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

/// Sends a complete response, without the body for HEAD.
int answer(mg_connection* connection, int status, const char* type, const std::string& body,
           const char* more = "") {
  const auto* info = mg_get_request_info(connection);
  const std::string method = info->request_method ? info->request_method : "";
  const bool has_body =
      info->content_length > 0 || mg_get_header(connection, "Transfer-Encoding") != nullptr;
  std::string out = status_line(status) + "Content-Type: " + type +
                    "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" + more +
                    "Content-Length: " + std::to_string(body.size()) + "\r\n";
  if (has_body) {  // the request's body is not read, so the connection cannot be reused
    out += "Connection: close\r\n";
    mg_disable_connection_keep_alive(connection);
  }
  out += "\r\n";
  if (method != "HEAD") out += body;
  mg_write(connection, out.data(), out.size());
  return status;
}

}  // namespace

std::string Metrics::text() const {
  std::vector<MetricFamily> families;
  families.push_back(gauge("waystation_build_info", "Always 1; the version is in the label.",
                           {Sample{1.0, {{"version", waystation_version()}}}}));
  add_stats(relay_, families);
  for (std::size_t i = 0; i < waystation_counter_count(); ++i) {
    const auto which = static_cast<waystation_counter>(i);
    waystation_counter_info info{};
    info.size = sizeof info;
    waystation_counter_at(which, &info);
    auto samples = samples_of(relay_, which, info.label);
    if (info.label == std::string_view("le")) {
      add_histogram(info, samples, families);
      continue;
    }
    for (auto& sample : samples) {  // with the refusals of /metrics itself
      if (which != WAYSTATION_COUNTER_HTTP_REFUSED) break;
      const auto& code = sample.labels.front().value;
      if (code == "not_found") sample.value += static_cast<double>(not_found_);
      if (code == "method_not_allowed") sample.value += static_cast<double>(method_not_allowed_);
      if (code == "not_an_operator") sample.value += static_cast<double>(not_an_operator_);
    }
    families.push_back(counter(info.metric, info.help, samples));
  }
  if (const auto expiry = certificate_expiry_.load(); expiry != 0) {
    families.push_back(gauge("waystation_tls_certificate_expiry_timestamp_seconds",
                             "When the certificate of new TLS connections expires, in seconds "
                             "since 1970.",
                             {Sample{static_cast<double>(expiry)}}));
  }
  add_process(families);
  return prometheus::TextSerializer{}.Serialize(families);
}

void Metrics::set_certificate_expiry(Certificate::Time expires) noexcept {
  certificate_expiry_ = expires.time_since_epoch().count();
}

void Metrics::attach(mg_context* context) {
  // The '$' excludes paths such as /metricsfoo.
  mg_set_request_handler(context, "/metrics$|/metrics/$", on_request, this);
}

int Metrics::on_request(mg_connection* connection, void* self) {
  return static_cast<Metrics*>(self)->answer_request(connection);
}

int Metrics::answer_request(mg_connection* connection) {
  waystation_civetweb_call call;
  waystation_civetweb_request(connection, &call);
  const std::string target = call.request.target ? call.request.target : "";
  // CivetWeb matches without regard to case and normalises the path first.
  if (target != "/metrics" && target != "/metrics/") {
    ++not_found_;
    return answer(connection, 404, "application/json",
                  error_json("not_found", "there is no such route; the metrics are at /metrics"));
  }
  const std::string method = call.request.method ? call.request.method : "";
  if (method != "GET" && method != "HEAD") {
    ++method_not_allowed_;
    return answer(connection, 405, "application/json",
                  error_json("method_not_allowed", "allowed here is GET"), "Allow: GET, HEAD\r\n");
  }
  waystation_response refusal{};
  refusal.size = sizeof refusal;
  const auto checked = waystation_origin_check(waystation_id(relay_), &call.request, &refusal);
  if (checked != WAYSTATION_OK || refusal.action != WAYSTATION_ALLOWED) {
    mg_disable_connection_keep_alive(connection);
    return refusal.action == WAYSTATION_DECLINED ? waystation_civetweb_refuse(connection, 500)
                                                 : waystation_civetweb_answer(connection, &refusal);
  }
  if (waystation_is_operator(waystation_id(relay_), &call.request) == 0) {
    ++not_an_operator_;
    return answer(
        connection, 403, "application/json",
        error_json("not_an_operator", "the metrics are for clients whose address is in operators"));
  }
  return answer(connection, 200, "text/plain; version=0.0.4; charset=utf-8", text());
}

}  // namespace waystation::server
