// Conversion of settings into the library's options, and of its errors into exceptions.
#pragma once

#include <waystation/waystation.h>

#include <memory>
#include <string>
#include <vector>

#include "embed/options.hpp"

namespace waystation::server {

/// Settings as the library's options. Owns the strings that the options point to.
class LibraryOptions {
 public:
  explicit LibraryOptions(const Settings& settings);
  LibraryOptions(const LibraryOptions&) = delete;
  LibraryOptions& operator=(const LibraryOptions&) = delete;

  const waystation_options* get() const { return &options_; }
  /// The caller sets the callbacks.
  waystation_options* get() { return &options_; }

 private:
  void put(const Option& option, const Value& value);

  std::vector<std::unique_ptr<std::string>> texts_;
  waystation_options options_;
};

/// A waystation_error that check() turns into an exception.
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
