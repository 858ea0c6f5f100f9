#include "embed/audit_cli.hpp"

#include <string>
#include <string_view>

#include "embed/configuration.hpp"

namespace waystation::server {
namespace {

constexpr const char* kOutcomes =
    "Outcomes of a message:\n"
    "  pushed       TO was not in the conversation, or the queues of their sockets there were\n"
    "               full; the message was queued for REACHED of their push sockets\n"
    "  undelivered  TO had no open socket, or all of their queues were full; the message is lost\n"
    "  dropped      the message was queued for a socket that closed before it arrived. After\n"
    "               a push this is a second row, after a delivery in the conversation the\n"
    "               only one\n"
    "  gap          rows are missing in this period, of any user\n"
    "  no row       delivered in the conversation; or the row is too old, pruned, or was never\n"
    "               written\n"
    "A message has arrived when the kernel at the other end of the connection (the proxy's if\n"
    "there is one) acknowledged it. The audit cannot tell whether a person read it. See\n"
    "waystation(1) and sql/README.md.";

}  // namespace

AuditCommands::AuditCommands(CLI::App& app)
    : command_(*app.add_subcommand(
          "audit", "list outcomes of messages: sender, receiver, time and result")) {
  command_.require_subcommand(1);
  command_.footer(
      "Without --file, the file is the one in the server's configuration (audit_file). A TIME is\n"
      "2026-03-01, \"2026-03-01 14:30\" (local), 2026-03-01T13:30:00Z, today, yesterday, 30m, 2h\n"
      "or 3d (before now), or ms since 1970. `waystation audit list --help` explains the "
      "outcomes.");
  list_request_.limit = "100";
  stats_request_.limit = "10";
  export_request_.limit = "0";
  const auto add_limit = [](CLI::App& command, AuditRequest& request, const char* doc) {
    command.add_option("--limit", request.limit, doc)->type_name("NUMBER")->capture_default_str();
  };
  list_ = &add("list", "the newest rows, as a table, in local time", list_request_);
  add_limit(*list_, list_request_, "maximum number of rows; 0: all");
  list_->footer(kOutcomes);
  stats_ = &add("stats", "count rows, and rank users by lost messages", stats_request_);
  add_limit(*stats_, stats_request_, "maximum number of users and pairs");
  export_ = &add("export", "print rows for another program, oldest first", export_request_);
  export_->add_option("--format", export_request_.format, "csv or jsonl (one JSON object per line)")
      ->type_name("FORMAT")
      ->capture_default_str();
  add_limit(*export_, export_request_, "maximum number of rows; 0: all");
  missed_ = command_.add_subcommand("missed", "who tried to reach a user, and did not");
  add_file(*missed_, missed_request_);
  missed_->add_option("--user", missed_request_.user, "the user who was away")
      ->type_name("USER")
      ->required();
  add_since(*missed_, missed_request_);
  missed_->footer(
      "Counts messages that no socket of the user took, and those that every socket lost which\n"
      "had taken them. A message id of one sender counts once. The user can ask the same in the\n"
      "page, or with GET /api/v1/missed.");
  prune_ = &add("prune", "delete rows, also while the server runs", prune_request_);
  prune_->add_flag("--dry-run", prune_request_.dry_run, "only print the number of rows");
  prune_->footer(
      "At least one filter is required. The audit does not record that rows were deleted; if no\n"
      "user is named, it no longer counts as complete for their time (audit missed). A gap\n"
      "is deleted if all of it lies between --since and --before. Gaps are kept if --user, --from\n"
      "or --to is given, or --outcome without gap.");
}

void AuditCommands::add_file(CLI::App& command, AuditRequest& request) {
  command.add_option("--file", request.file, "file of the audit")->type_name("FILE");
  command.add_option("--config", config_, "TOML file with the server's options")->type_name("FILE");
}

void AuditCommands::add_since(CLI::App& command, AuditRequest& request) {
  command.add_option("--since", request.since, "at or after this time")->type_name("TIME");
}

CLI::App& AuditCommands::add(const char* name, const char* doc, AuditRequest& request) {
  auto& command = *command_.add_subcommand(name, doc);
  add_file(command, request);
  add_since(command, request);
  command.add_option("--until,--before", request.until, "before this time")->type_name("TIME");
  command.add_option("--user", request.user, "from or to this user")->type_name("USER");
  command.add_option("--from", request.from, "from this user")->type_name("USER");
  command.add_option("--to", request.to, "to this user")->type_name("USER");
  const bool shows_gaps = std::string_view{name} != "prune";
  command
      .add_option("--outcome", request.outcomes,
                  std::string{"pushed, undelivered, dropped or gap; separate several by commas"} +
                      (shows_gaps ? " (gaps are always shown)" : ""))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("OUTCOME");
  return command;
}

int AuditCommands::run() {
  const auto with_file = [this](AuditRequest& request, const CLI::App& command) -> AuditRequest& {
    if (!request.file.empty()) return request;
    ConfigurationSources sources;
    if (command.count("--config") > 0) sources.file = config_;
    sources.environment = waystation_environment();
    request.file = load_configuration(sources).settings.text("audit_file");
    if (request.file.empty()) {
      throw ConfigurationError{
          "audit " + command.get_name() +
          ": no file; allowed: --file FILE, or a configuration (--config FILE, "
          "WAYSTATION_AUDIT_FILE) with audit_file"};
    }
    return request;
  };
  if (list_->parsed()) return audit_list(with_file(list_request_, *list_));
  if (stats_->parsed()) return audit_stats(with_file(stats_request_, *stats_));
  if (missed_->parsed()) return audit_missed(with_file(missed_request_, *missed_));
  if (export_->parsed()) return audit_export(with_file(export_request_, *export_));
  return audit_prune(with_file(prune_request_, *prune_));
}

}  // namespace waystation::server
