#include "embed/audit_cli.hpp"

#include "embed/configuration.hpp"

namespace waystation::server {
namespace {

constexpr std::uint64_t kListRows = 100;
constexpr std::uint64_t kRankingRows = 10;

}  // namespace

AuditCommands::AuditCommands(CLI::App& app)
    : command_(*app.add_subcommand("audit", "see who was sent what when, and what became of it")) {
  command_.require_subcommand(1);
  command_.footer(
      "The file is --file's, or else the one that the server's configuration names (audit). A TIME\n"
      "is 2026-03-01, \"2026-03-01 14:30\" (local), 2026-03-01T13:30:00Z, today, yesterday, 30m, 2h\n"
      "or 3d (before now), or ms since 1970.");
  list_request_.limit = kListRows;
  stats_request_.limit = kRankingRows;
  list_ = &add("list", "the newest rows, as a table, in local time", list_request_);
  list_->add_option("--limit", list_request_.limit, "rows at most; 0: all")->capture_default_str();
  stats_ = &add("stats", "counts, and who missed most", stats_request_);
  stats_->add_option("--limit", stats_request_.limit, "users and pairs at most")
      ->capture_default_str();
  export_ = &add("export", "rows for another program, oldest first", export_request_);
  export_->add_option("--format", export_request_.format, "csv or jsonl (JSON, a row a line)")
      ->type_name("FORMAT")
      ->capture_default_str();
  export_->add_option("--limit", export_request_.limit, "rows at most; 0: all")
      ->capture_default_str();
  prune_ = &add("prune", "take rows out for good, also while the server runs", prune_request_);
  prune_->add_flag("--dry-run", prune_request_.dry_run, "only say how many it would be");
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
  command
      .add_option("--outcome", request.outcomes,
                  "pushed, undelivered, dropped or gap; several allowed (gaps are shown always)")
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
    request.file = load_configuration(sources).settings.audit;
    if (request.file.empty()) {
      throw ConfigurationError{
          "audit " + command.get_name() +
          ": which file? Allowed is --file FILE, or a configuration (--config FILE, "
          "WAYSTATION_AUDIT) in which audit names one"};
    }
    return request;
  };
  if (list_->parsed()) return audit_list(with_file(list_request_, *list_));
  if (stats_->parsed()) return audit_stats(with_file(stats_request_, *stats_));
  if (export_->parsed()) return audit_export(with_file(export_request_, *export_));
  return audit_prune(with_file(prune_request_, *prune_));
}

}  // namespace waystation::server
