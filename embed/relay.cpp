#include "embed/relay.hpp"

#include <string_view>

namespace waystation::server {
namespace {

void write_to_log(void* log, waystation_log_level level, const char* line) {
  auto& out = *static_cast<Log*>(log);
  const std::string_view text = line ? line : "";
  switch (level) {
    case WAYSTATION_LOG_ERROR:
      return out.error(text);
    case WAYSTATION_LOG_WARNING:
      return out.warning(text);
    case WAYSTATION_LOG_INFO:
      return out.info(text);
    case WAYSTATION_LOG_DEBUG:
      break;
  }
  out.debug(text);
}

}  // namespace

RelayHandle start_relay(LibraryOptions& options, Log& log) {
  options.get()->user_data = &log;
  options.get()->on_log = write_to_log;
  waystation_relay* relay = nullptr;
  LibraryError error;
  const auto status = waystation_new(options.get(), &relay, error);
  RelayHandle owned{relay};
  error.check(status);
  return owned;
}

void reconfigure_relay(waystation_relay* relay, const LibraryOptions& options) {
  LibraryError error;
  error.check(waystation_reconfigure(relay, options.get(), error));
}

}  // namespace waystation::server
