// Makes system calls fail with a seccomp filter.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <thread>

namespace waystation::test {

/// A system call by its number (SYS_…) and the calls that fail with `error`: all of them, or those
/// whose second argument is, or is not, `second`.
struct FailingCall {
  enum class When : std::uint8_t { always, second_is, second_is_not };

  long number;
  int error;
  When when = When::always;
  std::uint32_t second = 0;
};

/// Installs the filter permanently in this thread and in the threads that it starts.
inline void make_fail(const FailingCall& call) {
  // Offsets of the lower half of each, on a little-endian machine.
  constexpr std::uint32_t kNumber = offsetof(seccomp_data, nr);
  constexpr std::uint32_t kSecond = offsetof(seccomp_data, args) + sizeof(seccomp_data::args[0]);
  const auto refuse = SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(call.error) & 0xFFFFU);
  using When = FailingCall::When;
  const std::uint32_t on_equal = call.when == When::second_is_not ? SECCOMP_RET_ALLOW : refuse;
  const std::uint32_t on_other = call.when == When::second_is ? SECCOMP_RET_ALLOW : refuse;
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call.number), 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kSecond),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call.second, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, on_equal),
      BPF_STMT(BPF_RET | BPF_K, on_other),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    throw std::system_error(errno, std::system_category(), "a filter for system calls");
  }
}

/// Runs `body` in a new thread in which `call` fails.
template <typename F>
void where_it_fails(const FailingCall& call, F&& body) {
  std::thread([&] {
    make_fail(call);
    body();
  }).join();
}

}  // namespace waystation::test
