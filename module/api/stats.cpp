#include "api/stats.hpp"

#include <algorithm>
#include <cstring>

namespace waystation {
namespace {

// NOLINTBEGIN(cppcoreguidelines-macro-usage): only a macro knows a field's name and offset
#define STAT(name, is_counter, metric, label, value, divisor, help)                          \
  waystation_stat_info {                                                                     \
    sizeof(waystation_stat_info), #name, help, offsetof(waystation_stats, name), is_counter, \
        metric, label, value, divisor                                                        \
  }
#define GAUGE(name, metric, help) STAT(name, 0, metric, "", "", 1, help)
#define COUNTER(name, metric, help) STAT(name, 1, metric, "", "", 1, help)
// NOLINTEND(cppcoreguidelines-macro-usage)

// clang-format off
constexpr std::array kStats = {
    STAT(chat_sockets, 0, "waystation_sockets", "route", "chat", 1, "Open sockets, by route."),
    STAT(push_sockets, 0, "waystation_sockets", "route", "push", 1, "Open sockets, by route."),
    GAUGE(groups, "waystation_groups", "Groups with an open chat socket."),
    GAUGE(queued_bytes, "waystation_queue_bytes", "Bytes in all outgoing queues."),
    COUNTER(upgrades_accepted, "waystation_upgrades_accepted_total", "Sockets adopted."),
    COUNTER(upgrades_refused, "", "Requests for a socket route that were refused."),
    STAT(messages_chat, 1, "waystation_messages_total", "route", "chat", 1,
         "Messages, by route: delivered in the group, by push, or to nobody."),
    STAT(messages_pushed, 1, "waystation_messages_total", "route", "push", 1,
         "Messages, by route: delivered in the group, by push, or to nobody."),
    STAT(messages_undelivered, 1, "waystation_messages_total", "route", "none", 1,
         "Messages, by route: delivered in the group, by push, or to nobody."),
    COUNTER(notifications, "waystation_notifications_total",
            "Notifications of the host application."),
    COUNTER(deliveries_dropped, "", "Deliveries queued for a socket that closed first."),
    COUNTER(errors_sent, "", "Error frames sent to clients."),
    COUNTER(closed_slow, "", "Sockets closed because they read too slowly."),
    COUNTER(closed_dead, "", "Sockets closed because nothing came from them."),
    COUNTER(events_lost, "waystation_events_lost_total",
            "Events not delivered to on_event, which was too slow."),
    GAUGE(audit_state, "", "State of the audit's writer, a waystation_audit_state."),
    COUNTER(audit_rows_written, "waystation_audit_rows_written_total",
            "Rows committed to the audit's file."),
    COUNTER(audit_rows_lost, "waystation_audit_rows_lost_total",
            "Rows that could not be kept and are missing in the audit."),
    GAUGE(audit_rows_waiting, "waystation_audit_rows_waiting",
          "Rows in memory that wait for the disk."),
    STAT(audit_lag_ms, 0, "waystation_audit_lag_seconds", "", "", 1000,
         "Age of the oldest row that waits for the disk."),
    GAUGE(audit_file_bytes, "waystation_audit_file_bytes", "Size of the audit's file and its WAL."),
    COUNTER(log_lines_lost, "waystation_log_lines_lost_total",
            "Lines of the relay's that did not fit the log's queue."),
    GAUGE(cluster_engines, "waystation_cluster_engines",
          "Servers that connect the nodes; 0 with one node."),
    GAUGE(cluster_engines_ready, "waystation_cluster_engines_ready",
          "Servers that are connected, with all subscriptions."),
    GAUGE(cluster_nodes, "waystation_cluster_nodes", "Nodes of the cluster, this one included."),
    GAUGE(cluster_round_trip_us, "",
          "Round trip of the last heartbeat to a server, in microseconds."),
    COUNTER(cluster_unavailable, "waystation_cluster_unavailable_total",
            "Messages not passed on, because the exchange between nodes was not available."),
    COUNTER(cluster_undecided, "waystation_cluster_undecided_total",
            "Messages that were under way when the connection to a server was lost."),
    COUNTER(cluster_partial, "waystation_cluster_partial_total",
            "Messages that only sockets of this node got."),
    COUNTER(cluster_resubscriptions, "waystation_cluster_resubscriptions_total",
            "Subscriptions of all channels after a lost connection."),
    COUNTER(cluster_frames_rejected, "waystation_cluster_frames_rejected_total",
            "Frames of other nodes that were malformed, repeated, or sealed with another key."),
    GAUGE(cluster_name_taken, "waystation_cluster_name_taken",
          "Servers where another node has the name of this one."),
    STAT(cluster_round_trip_us_total, 1, "waystation_cluster_round_trip_seconds_sum", "", "",
         1000000, "Sum of the round trips of all heartbeats."),
    GAUGE(cluster_settings_differ, "waystation_cluster_settings_differ",
          "Servers where the keys or the list of servers of this node do not fit another node."),
};
// clang-format on
#undef STAT
#undef GAUGE
#undef COUNTER

// Every field needs a row, or it would be missing in /healthz and /metrics.
static_assert(sizeof(waystation_stats) ==
              offsetof(waystation_stats, chat_sockets) + kStats.size() * sizeof(std::uint64_t));
static_assert([] {
  for (std::size_t i = 0; i < kStats.size(); ++i) {
    if (kStats[i].field_offset !=
        offsetof(waystation_stats, chat_sockets) + i * sizeof(std::uint64_t)) {
      return false;
    }
  }
  return true;
}());

constexpr std::size_t kInfoSize = sizeof(waystation_counter_info);
constexpr std::array kCounters = {
    waystation_counter_info{kInfoSize, "waystation_upgrades_refused_total", "code",
                            "Requests for a socket route that were refused, by refusal code."},
    waystation_counter_info{kInfoSize, "waystation_http_refused_total", "code",
                            "Requests for the HTTP API, /healthz, /metrics and the page that were "
                            "refused, by refusal code."},
    waystation_counter_info{kInfoSize, "waystation_deliveries_dropped_total", "reason",
                            "Deliveries queued for a socket that closed first, by the reason why "
                            "it closed."},
    waystation_counter_info{kInfoSize, "waystation_errors_sent_total", "code",
                            "Error frames sent to clients, by error code."},
    waystation_counter_info{kInfoSize, "waystation_sockets_closed_total", "reason",
                            "Sockets closed, by reason."},
    waystation_counter_info{kInfoSize, "waystation_handovers_total", "result",
                            "Connections that other web servers gave or asked for, by result."},
    waystation_counter_info{kInfoSize, "waystation_cluster_round_trip_seconds_bucket", "le",
                            "Round trips of heartbeats to the servers that connect the nodes."},
};
static_assert(kCounters.size() == WAYSTATION_COUNTER_CLUSTER_ROUND_TRIPS + 1);

}  // namespace

std::span<const waystation_stat_info> stat_table() noexcept {
  return kStats;
}

std::uint64_t value_of(const waystation_stats& stats, const waystation_stat_info& info) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, reinterpret_cast<const unsigned char*>(&stats) + info.field_offset,
              sizeof value);
  return value;
}

std::span<const waystation_counter_info> counter_table() noexcept {
  return kCounters;
}

LabelCounts RefusalCounts::read(RefusedBy by) const {
  LabelCounts result;
  for (const auto& info : kRefusalCodes) {
    if ((static_cast<int>(info.by) & static_cast<int>(by)) == 0) continue;
    const auto count = counts_[static_cast<std::size_t>(info.code)].load(std::memory_order_relaxed);
    const auto same = std::ranges::find_if(
        result, [&](const auto& entry) { return std::string_view(entry.first) == info.name; });
    if (same != result.end()) {
      same->second += count;
    } else {
      result.emplace_back(info.name.data(), count);
    }
  }
  return result;
}

}  // namespace waystation
