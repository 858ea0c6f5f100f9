/* The audit as a host application in C writes and reads it, without a web server. */
#define _GNU_SOURCE

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <waystation/waystation.h>

#include "check.h"
#include "support/small_stack.h"

enum { PATIENCE_MS = 20000, MOST = 64 };

static char folder[] = "/tmp/waystation-audit-XXXXXX";
static char file[64];

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The members that an event and a row have in common. */
typedef struct note {
  int64_t at;
  waystation_outcome outcome;
  char to[65];
  uint64_t reached;
  uint64_t bytes;
  int has_sender;
} note;

typedef struct notes {
  pthread_mutex_t mutex;
  note all[MOST];
  size_t count;
  size_t most; /* the requested number of rows */
} notes;

static void add(notes *to_all, int64_t at, waystation_outcome outcome, const char *to,
                uint64_t reached, uint64_t bytes, const char *from) {
  note *one = &to_all->all[to_all->count];
  if (to_all->count == MOST) return;
  to_all->count++;
  one->at = at;
  one->outcome = outcome;
  snprintf(one->to, sizeof one->to, "%s", to == NULL ? "" : to);
  one->reached = reached;
  one->bytes = bytes;
  one->has_sender = from != NULL;
}

static void on_event(void *user_data, const waystation_event *event) {
  notes *events = user_data;
  pthread_mutex_lock(&events->mutex);
  add(events, event->at, event->outcome, event->to, event->reached, event->bytes, event->from);
  pthread_mutex_unlock(&events->mutex);
}

static void pause_1_ms(void) {
  const struct timespec pause = {0, 1000000};
  nanosleep(&pause, NULL);
}

static int on_row(void *user_data, const waystation_audit_row *row) {
  notes *rows = user_data;
  add(rows, row->at, row->outcome, row->to, row->reached, row->bytes, row->from);
  return rows->count != rows->most;
}

static waystation_relay *started(notes *events) {
  waystation_options options;
  waystation_relay *relay = NULL;
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options_init(&options, sizeof options);
  options.audit_file = file;
  options.node_name = "here";
  options.on_event = events == NULL ? NULL : on_event;
  options.user_data = events;
  CHECK(waystation_new(&options, &relay, &error) == WAYSTATION_OK);
  CHECK(strcmp(error.message, "") == 0);
  return relay;
}

static waystation_audit_filter everything(void) {
  waystation_audit_filter filter;
  memset(&filter, 0, sizeof filter);
  filter.size = sizeof filter;
  return filter;
}

static waystation_audit *opened(void) {
  waystation_audit *audit = NULL;
  waystation_error error = WAYSTATION_ERROR_INIT;
  CHECK(waystation_audit_open(file, &audit, &error) == WAYSTATION_OK);
  CHECK(audit != NULL);
  return audit;
}

static waystation_audit_counts total(const waystation_audit_filter *filter) {
  waystation_audit_counts totals;
  waystation_audit *audit = opened();
  memset(&totals, 0, sizeof totals);
  totals.size = sizeof totals;
  CHECK(waystation_audit_count(audit, filter, &totals, NULL) == WAYSTATION_OK);
  waystation_audit_close(audit);
  return totals;
}

/* Three notifications that reach no socket: the callback and the file must agree. */
static void events_equal_rows(void) {
  static const struct {
    const char *user;
    const char *json;
  } sent[] = {{"bob", "\"one\""}, {"carol", "[2]"}, {"bob", "{\"three\":3}"}};
  static notes events = {PTHREAD_MUTEX_INITIALIZER, {{0}}, 0, 0};
  static notes rows = {PTHREAD_MUTEX_INITIALIZER, {{0}}, 0, 0};
  const waystation_audit_filter filter = everything();
  waystation_relay *relay = started(&events);
  waystation_audit *audit;
  struct stat status;
  size_t i;
  for (i = 0; i < 3; i++) {
    waystation_call_result pushed = WAYSTATION_CALL_RESULT_INIT;
    CHECK(waystation_push(relay, sent[i].user, sent[i].json, strlen(sent[i].json), PATIENCE_MS,
                          &pushed) == WAYSTATION_OK);
    CHECK(pushed.sockets == 0);
  }
  waystation_free(relay); /* returns after the last row and the last callback */
  CHECK(stat(file, &status) == 0 && (status.st_mode & 0777) == 0600);

  audit = opened();
  CHECK(waystation_audit_read(audit, &filter, 0, on_row, &rows, NULL) == WAYSTATION_OK);
  CHECK(events.count == 3 && rows.count == 3);
  for (i = 0; i < 3; i++) {
    const note *event = &events.all[i];
    const note *row = &rows.all[i];
    CHECK(event->at == row->at && event->outcome == row->outcome);
    CHECK(strcmp(event->to, row->to) == 0 && event->reached == row->reached);
    CHECK(event->bytes == row->bytes && event->has_sender == row->has_sender);
    CHECK(row->outcome == WAYSTATION_UNDELIVERED && strcmp(row->to, sent[i].user) == 0);
    CHECK(row->bytes == strlen(sent[i].json) && !row->has_sender);
    CHECK(row->at > now_ms() - 600000 && row->at <= now_ms());
  }

  /* The newest rows, at most the requested number. */
  rows.count = 0;
  CHECK(waystation_audit_read(audit, &filter, 2, on_row, &rows, NULL) == WAYSTATION_OK);
  CHECK(rows.count == 2 && strcmp(rows.all[0].to, "carol") == 0);
  rows.count = 0;
  rows.most = 1;
  CHECK(waystation_audit_read(audit, &filter, 0, on_row, &rows, NULL) == WAYSTATION_OK);
  CHECK(rows.count == 1);
  waystation_audit_close(audit);
  waystation_audit_close(NULL);
}

static int first_name(void *user_data, const char *name, uint64_t count) {
  snprintf(user_data, 80, "%s %llu", name, (unsigned long long)count);
  return 0;
}

static void counts(void) {
  waystation_audit_filter filter = everything();
  waystation_audit_counts totals = total(&filter);
  waystation_audit *audit = opened();
  char most[80] = "";
  CHECK(totals.undelivered == 3 && totals.pushed == 0 && totals.dropped == 0 && totals.gaps == 0);
  CHECK(totals.first_at > 0 && totals.first_at <= totals.last_at);
  filter.to = "carol";
  CHECK(total(&filter).undelivered == 1);
  filter.to = NULL;
  filter.outcomes = 1u << WAYSTATION_PUSHED;
  CHECK(total(&filter).undelivered == 0);
  filter.outcomes = 0;
  filter.until = totals.first_at; /* excludes that row */
  CHECK(total(&filter).undelivered == 0);
  filter.until = 0;
  CHECK(waystation_audit_top(audit, &filter, WAYSTATION_AUDIT_TOP_UNDELIVERED, 10, first_name,
                              most, NULL) == WAYSTATION_OK);
  CHECK(strcmp(most, "bob 2") == 0);
  strcpy(most, "none");
  CHECK(waystation_audit_top(audit, &filter, WAYSTATION_AUDIT_TOP_FALLBACKS, 10, first_name, most,
                              NULL) == WAYSTATION_OK);
  CHECK(strcmp(most, "none") == 0); /* notifications have no pair */
  CHECK(waystation_audit_top(audit, &filter, WAYSTATION_AUDIT_TOP_DROPPED, 10, first_name, most,
                              NULL) == WAYSTATION_OK);
  CHECK(strcmp(most, "none") == 0); /* none was dropped */
  waystation_audit_close(audit);
}

static int no_sender(void *user_data, const waystation_missed_sender *sender) {
  (void)sender;
  ++*(int *)user_data;
  return 1;
}

/* What bob missed are two notifications, which have no sender. The relay covers the next one too,
 * although it is not written yet; the file covers only what is written. */
static void missed(void) {
  waystation_audit *audit = opened();
  waystation_relay *relay = started(NULL);
  waystation_relay *without_audit = NULL;
  waystation_options options;
  waystation_missed_result result;
  waystation_error error = WAYSTATION_ERROR_INIT;
  char next[sizeof result.next];
  int senders = 0;
  int times;
  memset(&result, 0, sizeof result);
  result.size = sizeof result;
  CHECK(waystation_audit_missed(audit, "bob", 0, no_sender, &senders, &result, &error) ==
        WAYSTATION_OK);
  CHECK(result.notifications == 2 && !result.complete && strcmp(result.next, "") == 0);
  CHECK(waystation_audit_missed(audit, "bob", now_ms() + 1, no_sender, &senders, &result, NULL) ==
        WAYSTATION_OK);
  CHECK(result.notifications == 0 && result.complete);
  CHECK(waystation_audit_missed(audit, "Bob", 0, no_sender, &senders, &result, &error) ==
        WAYSTATION_INVALID);
  CHECK(strstr(error.message, "user") != NULL);
  CHECK(waystation_audit_missed(audit, NULL, 0, no_sender, &senders, &result, NULL) ==
        WAYSTATION_INVALID);
  CHECK(waystation_audit_missed(audit, "bob", -1, no_sender, &senders, &result, &error) ==
        WAYSTATION_INVALID);
  CHECK(strstr(error.message, "since") != NULL);
  CHECK(waystation_audit_missed(audit, "bob", 0, NULL, NULL, &result, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_audit_missed(audit, "bob", 0, no_sender, &senders, NULL, NULL) ==
        WAYSTATION_INVALID);
  waystation_audit_close(audit);

  CHECK(waystation_missed(relay, "bob", 0, NULL, PATIENCE_MS, no_sender, &senders, &result,
                          &error) == WAYSTATION_OK);
  CHECK(result.notifications == 2 && strcmp(error.message, "") == 0);
  strcpy(next, result.next);
  CHECK(waystation_push(relay, "bob", "1", 1, PATIENCE_MS, NULL) == WAYSTATION_OK);
  /* An answer that waits for a slow disk is not complete. */
  for (times = 0; times < 20; times++) {
    CHECK(waystation_missed(relay, "bob", 0, next, PATIENCE_MS, no_sender, &senders, &result,
                            &error) == WAYSTATION_OK);
    if (result.complete) break;
  }
  CHECK(result.notifications == 1 && result.complete && senders == 0);
  CHECK(waystation_missed(relay, "bob", 0, "yesterday", PATIENCE_MS, no_sender, &senders, &result,
                          &error) == WAYSTATION_INVALID);
  CHECK(strstr(error.message, "after") != NULL);
  CHECK(waystation_missed(relay, "bob", -1, NULL, PATIENCE_MS, no_sender, &senders, &result,
                          &error) == WAYSTATION_INVALID);
  CHECK(waystation_missed(relay, "bob", INT64_C(1) << 53, NULL, PATIENCE_MS, no_sender, &senders,
                          &result, &error) == WAYSTATION_INVALID);
  CHECK(strstr(error.message, "since") != NULL);
  CHECK(waystation_missed(relay, NULL, 0, NULL, PATIENCE_MS, no_sender, &senders, &result,
                          &error) == WAYSTATION_INVALID);
  CHECK(waystation_missed(NULL, "bob", 0, NULL, PATIENCE_MS, no_sender, &senders, &result,
                          &error) == WAYSTATION_INVALID);
  waystation_free(relay);

  waystation_options_init(&options, sizeof options);
  CHECK(waystation_new(&options, &without_audit, NULL) == WAYSTATION_OK);
  CHECK(waystation_missed(without_audit, "bob", 0, NULL, PATIENCE_MS, no_sender, &senders, &result,
                          &error) == WAYSTATION_INVALID);
  CHECK(strstr(error.message, "audit_file") != NULL);
  waystation_free(without_audit);
}

static void invalid_arguments(void) {
  waystation_audit_filter filter = everything();
  waystation_audit *audit = opened();
  waystation_audit *none = audit;
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  char path[96];
  notes rows = {PTHREAD_MUTEX_INITIALIZER, {{0}}, 0, 0};
  filter.user = "Bob!";
  CHECK(waystation_audit_read(audit, &filter, 0, on_row, &rows, &error) ==
        WAYSTATION_INVALID);
  CHECK(strstr(error.message, "user") != NULL);
  filter = everything();
  filter.outcomes = 1u << WAYSTATION_PUSHED | 1u << 30;
  CHECK(waystation_audit_read(audit, &filter, 0, on_row, &rows, &error) ==
        WAYSTATION_INVALID);
  filter.outcomes = WAYSTATION_PUSHED | WAYSTATION_DROPPED; /* a mistake: not the bits of these */
  CHECK(waystation_audit_prune(file, &filter, NULL, &error) == WAYSTATION_INVALID);
  CHECK(strstr(error.message, "outcomes: unknown bits") != NULL);
  filter = everything();
  CHECK(waystation_audit_read(audit, NULL, 0, on_row, &rows, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_audit_read(audit, &filter, 0, NULL, &rows, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_audit_top(audit, &filter, (waystation_audit_ranking)7, 1, first_name, path,
                              NULL) == WAYSTATION_INVALID);
  waystation_audit_close(audit);
  snprintf(path, sizeof path, "%s/none", folder);
  CHECK(waystation_audit_open(path, &none, &error) == WAYSTATION_INVALID);
  CHECK(none == NULL && strstr(error.message, "there is no such file") != NULL);
  waystation_options_init(&options, sizeof options);
  options.audit_file = path;
  CHECK(waystation_options_check(&options, NULL) == WAYSTATION_OK);
  CHECK(access(path, F_OK) != 0);
  options.audit_file = folder;
  CHECK(waystation_options_check(&options, &error) == WAYSTATION_INVALID);
  CHECK(strcmp(error.option, "audit_file") == 0);
}

static void second_relay(void) {
  waystation_options options;
  waystation_relay *first = started(NULL);
  waystation_relay *second = NULL;
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options_init(&options, sizeof options);
  options.audit_file = file;
  options.node_name = "here";
  CHECK(waystation_new(&options, &second, &error) == WAYSTATION_INVALID);
  CHECK(second == NULL && strstr(error.message, "another program is writing it as node here") != NULL);
  options.node_name = "there";
  CHECK(waystation_new(&options, &second, &error) == WAYSTATION_OK);
  waystation_free(second);
  waystation_free(first);
}

/* Rows older than an hour are deleted when the retention is one day; the file size is checked. */
static void reconfigured(void) {
  waystation_options options;
  waystation_relay *relay = started(NULL);
  waystation_stats stats;
  waystation_error error = WAYSTATION_ERROR_INIT;
  int ms;
  memset(&stats, 0, sizeof stats);
  stats.size = sizeof stats;
  waystation_options_init(&options, sizeof options);
  options.audit_max_bytes = 1;
  CHECK(waystation_reconfigure(relay, &options, &error) == WAYSTATION_INVALID);
  CHECK(strcmp(error.option, "audit_max_bytes") == 0);
  options.audit_max_bytes = 1048576;
  options.audit_retention_days = 1;
  CHECK(waystation_reconfigure(relay, &options, &error) == WAYSTATION_OK);
  CHECK(waystation_push(relay, "dave", "1", 1, PATIENCE_MS, NULL) == WAYSTATION_OK);
  CHECK(waystation_drain(relay, PATIENCE_MS) == WAYSTATION_OK); /* the rows are on disk */
  CHECK(waystation_stats_read(relay, &stats) == WAYSTATION_OK);
  CHECK(stats.audit_rows_written == 1 && stats.audit_rows_waiting == 0);
  /* The state follows the first rows. */
  for (ms = 0; stats.audit_state == WAYSTATION_AUDIT_STARTING && ms < PATIENCE_MS; ms++) {
    pause_1_ms();
    CHECK(waystation_stats_read(relay, &stats) == WAYSTATION_OK);
  }
  CHECK(stats.audit_state == WAYSTATION_AUDIT_OK && stats.audit_rows_written == 1);
  CHECK(stats.audit_rows_lost == 0 && stats.audit_rows_waiting == 0);
  CHECK(stats.audit_file_bytes > 0);
  waystation_free(relay);
}

static void pruned(void) {
  waystation_audit_filter filter = everything();
  uint64_t rows = 99;
  filter.user = "bob";
  CHECK(waystation_audit_prune(file, &filter, &rows, NULL) == WAYSTATION_OK);
  CHECK(rows == 3);
  filter = everything();
  CHECK(total(&filter).undelivered == 2);
}

/* The host process continues if a file-size limit stops its writes, although SIGXFSZ would end
 * it. */
static void limited(void) {
  int status = 0;
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit limit = {1024, RLIM_INFINITY};
    const waystation_audit_filter filter = everything();
    waystation_audit_counts totals;
    waystation_relay *relay;
    waystation_audit *audit = NULL;
    struct sigaction action;
    failures = 0;
    signal(SIGXFSZ, SIG_DFL);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    relay = started(NULL);
    CHECK(waystation_push(relay, "bob", "1", 1, PATIENCE_MS, NULL) == WAYSTATION_OK);
    waystation_free(relay);
    waystation_audit_prune(file, &filter, NULL, NULL);
    memset(&totals, 0, sizeof totals);
    totals.size = sizeof totals;
    if (waystation_audit_open(file, &audit, NULL) == WAYSTATION_OK) {
      waystation_audit_count(audit, &filter, &totals, NULL);
      waystation_audit_close(audit);
    }
    /* The host's signal handling is unchanged. */
    CHECK(sigaction(SIGXFSZ, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    {
      sigset_t set;
      CHECK(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGXFSZ) == 0);
    }
    _exit(failures == 0 ? 0 : 1);
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

static int run(void) {
  char command[96];
  if (mkdtemp(folder) == NULL) return 1;
  snprintf(file, sizeof file, "%s/audit.db", folder);
  events_equal_rows();
  counts();
  missed();
  invalid_arguments();
  second_relay();
  reconfigured();
  pruned();
  limited();
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  if (system(command) != 0) failures++;
  return failures == 0 ? 0 : 1;
}

int main(void) {
  return run_on_small_stacks(run);
}
