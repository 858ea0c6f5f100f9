// Notifications to systemd (Type=notify). Without NOTIFY_SOCKET they do nothing.
#pragma once

#include <chrono>
#include <optional>

namespace waystation::server {

/// Every listener is open.
void notify_ready();

/// A reload begins. It ends with notify_ready().
void notify_reloading();

/// The shutdown begins.
void notify_stopping();

/// Resets the watchdog's interval.
void notify_alive();

/// The time between calls of notify_alive(): half of WatchdogSec. Nothing without a watchdog.
std::optional<std::chrono::milliseconds> watchdog_period();

}  // namespace waystation::server
