// The speed of the audit: recording, writing and finding rows.
//
//     audit_bench [FOLDER] [SECONDS] [ROWS_PER_SECOND]
//
// Measures three things. The cost of one on_delivery call on the relay's thread. The rows per
// second that the writer sustains without a gap: at a given rate into a growing file, at that rate
// into full files (each new row deletes an old one), and at no fixed rate. The time of an
// operator's queries in a million rows.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "audit/audit.hpp"
#include "audit/audit_reader.hpp"
#include "relay/observer.hpp"

namespace {

using namespace waystation;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kUsers = 2000;

std::int64_t now_ms() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Seconds of a system clock: the processor time of a thread, or of the process.
double processor_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

/// Rows as of a busy relay: thousands of users in no order.
class Rows {
 public:
  Rows() {
    for (int i = 0; i < kUsers; ++i) users_.push_back(std::to_string(100'000 + i));
  }

  Delivery next(std::int64_t at) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    const auto a = (state_ >> 33) % kUsers;
    const auto b = (a + 1 + (state_ >> 50) % 20) % kUsers;
    group_ = users_[std::min(a, b)] + "_" + users_[std::max(a, b)];
    std::snprintf(id_, sizeof id_, "%016" PRIx64, state_);
    const auto kind = state_ >> 60;
    return {.outcome = kind == 0   ? Outcome::undelivered
                       : kind == 1 ? Outcome::dropped
                                   : Outcome::pushed,
            .at = at,
            .group = group_,
            .from = users_[a],
            .to = users_[b],
            .id = id_,
            .reached = 1,
            .bytes = 64,
            .key = ++key_,
            .taken = 1};
  }

 private:
  std::vector<std::string> users_;
  std::string group_;
  char id_[17] = {};
  std::uint64_t state_ = 1;
  std::uint64_t key_ = 0;
};

AuditOptions options(const std::string& file, std::uint64_t max_bytes) {
  AuditOptions options;
  options.file = file;
  options.node = "bench";
  options.max_bytes = max_bytes;
  options.log = [](AuditLogLevel, const std::string& line) {
    std::fprintf(stderr, "%s\n", line.c_str());
  };
  return options;
}

/// Records rows until the file has its full size and some rows have been deleted.
void fill(Audit& audit, Rows& rows, const std::string& file) {
  constexpr std::uint64_t kAtOnce = 20'000;  // fits the queue
  AuditTotals kept;
  do {
    for (std::uint64_t i = 0; i < kAtOnce; ++i) audit.on_delivery(rows.next(now_ms()));
    if (!audit.flush(std::chrono::minutes(1))) throw std::runtime_error("it cannot be filled");
    kept = AuditReader(file).totals({});
  } while (kept.pushed + kept.undelivered + kept.dropped == audit.stats().rows_written);
}

/// Records rows at a rate (0: as fast as possible) and reports the result. With a size limit the
/// file is full at the start.
void run(const char* name, const std::string& file, std::uint64_t max_bytes, double seconds,
         double pace) {
  Rows rows;
  Audit audit(options(file, max_bytes));
  while (audit.stats().state == AuditState::starting) std::this_thread::yield();
  if (max_bytes != 0) fill(audit, rows, file);
  const auto before = audit.stats();
  std::uint64_t told = 0;
  std::uint64_t most_waiting[2] = {};  // in the first half of the time, and in the second
  const double all_before = processor_seconds(CLOCK_PROCESS_CPUTIME_ID);
  const double own_before = processor_seconds(CLOCK_THREAD_CPUTIME_ID);
  const auto begin = Clock::now();
  while (seconds_since(begin) < seconds) {
    const auto due =
        pace == 0 ? told + 1000 : static_cast<std::uint64_t>(pace * seconds_since(begin));
    const auto at = now_ms();
    for (; told < due; ++told) audit.on_delivery(rows.next(at));
    auto& most = most_waiting[seconds_since(begin) < seconds / 2 ? 0 : 1];
    most = std::max(most, audit.stats().rows_waiting);
    if (pace != 0) std::this_thread::sleep_for(milliseconds(1));  // then records all due rows
  }
  const double took = seconds_since(begin);
  if (!audit.flush(std::chrono::minutes(5))) std::printf("  not all was written\n");
  const double until_written = seconds_since(begin);
  const double own = processor_seconds(CLOCK_THREAD_CPUTIME_ID) - own_before;
  const double writers = processor_seconds(CLOCK_PROCESS_CPUTIME_ID) - all_before - own;
  const auto stats = audit.stats();
  const auto written = static_cast<double>(stats.rows_written - before.rows_written);
  // If the writer is too slow, the queue grows during the run, before it loses rows. The processor
  // time shows what a machine without other load could do.
  std::printf("%-30s %8.0f recorded/s %8.0f written/s %8" PRIu64 " lost %7" PRIu64
              ", then %7" PRIu64
              " waiting at most; of the processor, a row: recorded %.2f us, written %.2f us\n",
              name, static_cast<double>(told) / took, written / until_written,
              stats.rows_lost - before.rows_lost, most_waiting[0], most_waiting[1],
              own / static_cast<double>(told) * 1e6, writers / written * 1e6);
}

template <typename F>
void time_query(const char* name, F&& query) {
  std::vector<double> times;
  std::size_t rows = 0;
  for (int i = 0; i < 11; ++i) {
    const auto begin = Clock::now();
    rows = query();
    times.push_back(seconds_since(begin) * 1000);
  }
  std::ranges::sort(times);
  std::printf("%-34s %8.2f ms (median of 11, connection included)  %zu rows\n", name,
              times[times.size() / 2], rows);
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : "/var/tmp";
  const double seconds = argc > 2 ? std::atof(argv[2]) : 20;
  const double pace = argc > 3 ? std::atof(argv[3]) : 50'000;
  const auto path = folder / "waystation-audit-bench.db";
  const auto remove = [&] {
    for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(path.string() + part);
  };
  const std::string paced = std::to_string(static_cast<int>(pace)) + " a second";

  remove();
  run((paced + ", growing").c_str(), path, 0, seconds, pace);
  for (const int mib : {8, 64}) {
    remove();
    run((paced + ", full at " + std::to_string(mib) + " MiB").c_str(), path,
        static_cast<std::uint64_t>(mib) << 20, seconds, pace);
  }
  remove();
  run("as fast as can be, growing", path, 0, seconds, 0);

  remove();
  {
    Rows rows;
    Audit audit(options(path, 0));
    const auto at = now_ms() - 1'000'000;
    for (int i = 0; i < 1'000'000; ++i) {
      audit.on_delivery(rows.next(at + i));
      if (i % 20'000 == 0 && !audit.flush(std::chrono::minutes(1))) return 1;
    }
  }
  std::printf("a million rows are %.0f MiB\n",
              static_cast<double>(std::filesystem::file_size(path)) / (1 << 20));
  AuditFilter user;
  user.user = "100042";
  AuditFilter undelivered = user;
  undelivered.add(AuditOutcome::undelivered);
  time_query("list: the newest 100 of a user",
             [&] { return AuditReader(path).newest(user, 100).size(); });
  time_query("all of a user", [&] { return AuditReader(path).page(user, {}, 1'000'000).size(); });
  time_query("undelivered of a user",
             [&] { return AuditReader(path).newest(undelivered, 100).size(); });
  time_query("the newest 100 of all", [&] { return AuditReader(path).newest({}, 100).size(); });
  const auto missed = [&](const MissedQuestion& question) {
    return AuditReader(path).missed(user.user, "bench", question, now_ms());
  };
  time_query("missed: all senders of a user", [&] { return missed({}).from.size(); });
  const auto next = MissedCursor::parse(missed({}).next);
  time_query("missed: nothing new since `next`", [&] { return missed({0, next}).from.size(); });
  time_query("export: a million rows", [&] {
    std::size_t rows = 0;
    AuditReader(path).each({}, [&](const AuditRow&) { return ++rows != 0; });
    return rows;
  });
  remove();
  return 0;
}
