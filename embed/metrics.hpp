// GET /metrics: the relay's statistics for Prometheus.
#pragma once

#include <waystation/waystation.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "embed/certificate.hpp"

struct mg_connection;
struct mg_context;

namespace waystation::server {

/// The statistics in Prometheus' text format, version 0.0.4. Names and units follow Prometheus'
/// conventions. Clients cannot create label values, so the number of series is bounded.
class Metrics {
 public:
  /// The relay must outlive it.
  explicit Metrics(waystation_relay* relay) : relay_{relay} {}
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// Any thread.
  std::string text() const;

  /// The end of the certificate of new connections. Without a call there is no such metric. Any
  /// thread.
  void set_certificate_expiry(Certificate::Time expires) noexcept;

  /// Registers the handler of /metrics: operators get the text, other clients 403. Call it before
  /// registering a handler that matches every path. This object must outlive the context.
  void attach(mg_context* context);

 private:
  static int on_request(mg_connection* connection, void* self);
  int answer_request(mg_connection* connection);

  waystation_relay* relay_;
  std::atomic<std::int64_t> certificate_expiry_ = 0;  // seconds since 1970; 0: no certificate

  // Refusals of /metrics itself, by code.
  std::atomic<std::uint64_t> not_found_ = 0;
  std::atomic<std::uint64_t> method_not_allowed_ = 0;
  std::atomic<std::uint64_t> not_an_operator_ = 0;
};

}  // namespace waystation::server
