#include "storm.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace waystation::load {
namespace {

constexpr std::string_view kSeconds = "seconds ";

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// The child's life. Its result ends with a newline.
void run_storm(const LoadOptions& options, int start, int result) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    const sched_param none{};
    if (sched_setscheduler(0, SCHED_IDLE, &none) != 0) {
      throw std::system_error(errno, std::system_category(), "SCHED_IDLE");
    }
    Load load(options);
    write_all(result, std::string(kSeconds) + std::to_string(load.storm(start)) + "\n");
    char byte = 0;
    while (::read(start, &byte, 1) > 0) {
    }
  } catch (const std::exception& problem) {
    write_all(result, std::string("storm: ") + problem.what() + "\n");
  }
}

}  // namespace

StormProcess::StormProcess(const LoadOptions& options) {
  std::array<int, 2> start{};
  std::array<int, 2> result{};
  if (pipe2(start.data(), O_CLOEXEC) != 0 || pipe2(result.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::system_category(), "pipe2");
  }
  child_ = fork();
  if (child_ < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (child_ == 0) {
    ::close(start[1]);
    ::close(result[0]);
    run_storm(options, start[0], result[1]);
    _exit(0);
  }
  ::close(start[0]);
  ::close(result[1]);
  start_ = start[1];
  result_ = result[0];
  (void)fcntl(result_, F_SETFL, O_NONBLOCK);
}

StormProcess::~StormProcess() {
  ::close(start_);
  ::close(result_);
  (void)kill(child_, SIGKILL);
  int status = 0;
  (void)waitpid(child_, &status, 0);
}

void StormProcess::start() {
  write_all(start_, "!");
}

bool StormProcess::is_done() {
  if (said_.ends_with('\n')) return true;
  std::array<char, 512> text;
  const auto size = ::read(result_, text.data(), text.size());
  if (size < 0) return false;
  said_.append(text.data(), static_cast<std::size_t>(size));
  if (!said_.ends_with('\n') && size != 0) return false;
  if (!said_.starts_with(kSeconds))
    throw std::runtime_error(said_.empty() ? "storm: it ended" : said_);
  seconds_ = std::stod(said_.substr(kSeconds.size()));
  return true;
}

}  // namespace waystation::load
