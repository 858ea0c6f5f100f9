#include "embed/parked_thread.hpp"

#include <pthread.h>

#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace waystation::server {

ParkedThread::ParkedThread(const char* name, std::function<void()> job) : job_{std::move(job)} {
  try {
    thread_ = std::thread{[this] {
      state_.wait(State::parked);
      if (state_ == State::started) job_();
    }};
  } catch (const std::system_error& error) {
    throw std::runtime_error{"cannot start a thread: " + error.code().message() + "; " +
                             std::string{kAllowMoreThreads}};
  }
  pthread_setname_np(thread_.native_handle(), name);
}

ParkedThread::~ParkedThread() {
  finish();
}

void ParkedThread::start() noexcept {
  auto expected = State::parked;
  if (state_.compare_exchange_strong(expected, State::started)) state_.notify_all();
}

void ParkedThread::finish() noexcept {
  auto expected = State::parked;
  if (state_.compare_exchange_strong(expected, State::finished)) state_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace waystation::server
