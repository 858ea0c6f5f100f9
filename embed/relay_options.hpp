// Settings as the library's options, and the library's errors as exceptions.
#pragma once

#include <waystation/waystation.h>

#include <memory>
#include <string>
#include <vector>

#include "embed/options.hpp"

namespace waystation::server {

/// Settings as the library's options. Holds the strings that they point to.
class RelayOptions {
 public:
  explicit RelayOptions(const Settings& settings);
  RelayOptions(const RelayOptions&) = delete;
  RelayOptions& operator=(const RelayOptions&) = delete;

  const waystation_options* get() const { return &options_; }
  /// The callbacks are for others to fill in.
  waystation_options* get() { return &options_; }

 private:
  void put(const Option& option, const Value& value);

  std::vector<std::unique_ptr<std::string>> texts_;
  waystation_options options_;
};

/// A waystation_error that becomes an exception.
class LibraryError {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): an argument of the library's functions
  operator waystation_error*() { return &error_; }

  const char* option() const { return error_.option; }
  const char* message() const { return error_.message; }

  /// Throws ConfigurationError for WAYSTATION_INVALID, std::runtime_error for any other error.
  void check(waystation_status status) const;

 private:
  waystation_error error_ = WAYSTATION_ERROR_INIT;
};

}  // namespace waystation::server
