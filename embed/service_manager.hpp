// What systemd is told, where it started this process and asked to be told (Type=notify).
#pragma once

#include <chrono>
#include <optional>

namespace waystation::server {

/// Every listener is open.
void notify_ready();

/// A reload begins; ends with notify_ready().
void notify_reloading();

/// The end began.
void notify_stopping();

/// All is well, and the watchdog need not bite until its interval has passed again.
void notify_alive();

/// How often notify_alive() is due: twice in the interval of WatchdogSec. Nothing where there is no
/// watchdog.
std::optional<std::chrono::milliseconds> watchdog_period();

}  // namespace waystation::server
