// GET /metrics: what the relay counted, for Prometheus.
#pragma once

#include <waystation/waystation.h>

#include <atomic>
#include <cstdint>
#include <string>

struct mg_connection;
struct mg_context;

namespace waystation::server {

/// The figures in Prometheus' text format, version 0.0.4. Names and units as Prometheus advises; no
/// label takes a value that users could make more of.
class Metrics {
 public:
  /// The relay must outlive it.
  explicit Metrics(waystation_relay* relay) : relay_{relay} {}
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// Any thread.
  std::string text() const;

  /// Answers /metrics from now on: operators get the text, anyone else 403. To be called before
  /// anything that matches every path, and the context must end before this does.
  void attach(mg_context* context);

 private:
  static int on_request(mg_connection* connection, void* self);
  int answer_request(mg_connection* connection);

  waystation_relay* relay_;

  // Refusals of our own, by their code.
  std::atomic<std::uint64_t> not_found_ = 0;
  std::atomic<std::uint64_t> method_not_allowed_ = 0;
  std::atomic<std::uint64_t> not_an_operator_ = 0;
};

}  // namespace waystation::server
