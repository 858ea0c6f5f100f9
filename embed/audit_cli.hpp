// The command line of `waystation audit`.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

#include "embed/audit_command.hpp"

namespace waystation::server {

/// Adds the command and its four subcommands to a program, and runs the selected one.
class AuditCommands {
 public:
  /// `app` must outlive this object. Neither may move before run() returns.
  explicit AuditCommands(CLI::App& app);
  AuditCommands(const AuditCommands&) = delete;
  AuditCommands& operator=(const AuditCommands&) = delete;

  bool is_selected() const { return command_.parsed(); }
  /// Returns the exit code. Throws what the functions in audit_command.hpp throw.
  int run();

 private:
  CLI::App& add(const char* name, const char* doc, AuditRequest& request);
  void add_file(CLI::App& command, AuditRequest& request);
  static void add_since(CLI::App& command, AuditRequest& request);

  CLI::App& command_;
  CLI::App* list_ = nullptr;
  CLI::App* stats_ = nullptr;
  CLI::App* export_ = nullptr;
  CLI::App* missed_ = nullptr;
  CLI::App* prune_ = nullptr;
  AuditRequest list_request_;
  AuditRequest stats_request_;
  AuditRequest export_request_;
  AuditRequest missed_request_;
  AuditRequest prune_request_;
  std::string config_;
};

}  // namespace waystation::server
