#include "process.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace waystation::load {
namespace {

void add(ProcessUse& to, const ProcessUse& use) {
  to.user_seconds += use.user_seconds;
  to.system_seconds += use.system_seconds;
  to.resident_kib += use.resident_kib;
}

}  // namespace

ProcessUse process_use(pid_t pid) {
  ProcessUse use;
  if (pid <= 0) return use;
  const auto folder = "/proc/" + std::to_string(pid);
  std::string stat;
  std::getline(std::ifstream(folder + "/stat"), stat);
  // The second field, the name in parentheses, may contain anything; utime and stime are fields 14
  // and 15.
  if (const auto name_end = stat.rfind(')'); name_end != std::string::npos) {
    std::istringstream fields(stat.substr(name_end + 1));
    std::string skipped;
    for (int field = 3; field < 14; ++field) fields >> skipped;
    double user = 0;
    double system = 0;
    fields >> user >> system;
    const auto per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
    use.user_seconds = user / per_second;
    use.system_seconds = system / per_second;
  }
  std::uint64_t total_pages = 0;
  std::uint64_t resident_pages = 0;
  std::ifstream(folder + "/statm") >> total_pages >> resident_pages;
  use.resident_kib = resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 1024;

  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator(folder + "/task", gone)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child = 0; children >> child;) {
      add(use, process_use(child));
    }
  }
  return use;
}

ProcessUse process_use(std::span<const pid_t> pids) {
  ProcessUse use;
  for (const auto pid : pids) add(use, process_use(pid));
  return use;
}

}  // namespace waystation::load
