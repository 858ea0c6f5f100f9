#include "embed/audit_cli.hpp"

#include <string>
#include <string_view>

#include "embed/configuration.hpp"

namespace waystation::server {
namespace {

constexpr const char* kOutcomes =
    "What became of a message, for the user who asks:\n"
    "  pushed       TO was not in the conversation; REACHED of their push sockets took it\n"
    "  undelivered  no socket of TO's took it: they were not logged in; it is gone\n"
    "  dropped      a socket had taken it and ended before it arrived there: a second row, after "
    "the\n"
    "               pushed one, or the only one of a message in the conversation\n"
    "  gap          rows are missing in this time, whoever's\n"
    "  no row       delivered in the conversation; or the row is too old, pruned, or never "
    "written\n"
    "A socket takes a message by queueing it; it has arrived once the kernel at the other end, a\n"
    "proxy's if there is one, acknowledged it. No row says that a person read it. More of it is "
    "in\n"
    "waystation(1) and in sql/README.md.";

}  // namespace

AuditCommands::AuditCommands(CLI::App& app)
    : command_(*app.add_subcommand("audit", "see who was sent what when, and what became of it")) {
  command_.require_subcommand(1);
  command_.footer(
      "The file is --file's, or else the one that the server's configuration names "
      "(audit_file). A TIME\n"
      "is 2026-03-01, \"2026-03-01 14:30\" (local), 2026-03-01T13:30:00Z, today, yesterday, 30m, "
      "2h\n"
      "or 3d (before now), or ms since 1970. `waystation audit list --help` says what outcomes "
      "mean.");
  // Of each: as many as one looks at.
  list_request_.limit = "100";
  stats_request_.limit = "10";
  export_request_.limit = "0";
  const auto add_limit = [](CLI::App& command, AuditRequest& request, const char* doc) {
    command.add_option("--limit", request.limit, doc)->type_name("NUMBER")->capture_default_str();
  };
  list_ = &add("list", "the newest rows, as a table, in local time", list_request_);
  add_limit(*list_, list_request_, "rows at most; 0: all");
  list_->footer(kOutcomes);
  stats_ = &add("stats", "counts, and who missed most", stats_request_);
  add_limit(*stats_, stats_request_, "users and pairs at most");
  export_ = &add("export", "rows for another program, oldest first", export_request_);
  export_->add_option("--format", export_request_.format, "csv or jsonl (JSON, a row a line)")
      ->type_name("FORMAT")
      ->capture_default_str();
  add_limit(*export_, export_request_, "rows at most; 0: all");
  prune_ = &add("prune", "take rows out for good, also while the server runs", prune_request_);
  prune_->add_flag("--dry-run", prune_request_.dry_run, "only say how many it would be");
  prune_->footer(
      "At least one filter has to say which. Nothing is kept of what is taken out: no row tells "
      "that\n"
      "it was. Gaps go with the other rows where the whole of them lies within --since and "
      "--before,\n"
      "and stay where --user, --from or --to is given, or --outcome without gap.");
}

CLI::App& AuditCommands::add(const char* name, const char* doc, AuditRequest& request) {
  auto& command = *command_.add_subcommand(name, doc);
  command.add_option("--file", request.file, "the audit's file")->type_name("FILE");
  command.add_option("--config", config_, "TOML file with the server's options")->type_name("FILE");
  command.add_option("--since", request.since, "from this time on")->type_name("TIME");
  command.add_option("--until,--before", request.until, "up to this time, without it")
      ->type_name("TIME");
  command.add_option("--user", request.user, "from or to this user")->type_name("USER");
  command.add_option("--from", request.from, "from this user")->type_name("USER");
  command.add_option("--to", request.to, "to this user")->type_name("USER");
  const bool shows_gaps = std::string_view{name} != "prune";
  command
      .add_option("--outcome", request.outcomes,
                  std::string{"pushed, undelivered, dropped or gap; several allowed"} +
                      (shows_gaps ? " (gaps are shown always)" : ""))
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
  if (export_->parsed()) return audit_export(with_file(export_request_, *export_));
  return audit_prune(with_file(prune_request_, *prune_));
}

}  // namespace waystation::server
