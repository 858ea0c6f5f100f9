#include "fuzz/one_input.hpp"

#include <memory>
#include <semaphore>

#include "support/small_stack.h"

namespace {

/// The thread that runs all inputs until the process ends.
class Runner {
 public:
  Runner() {
    pthread_attr_t attributes;
    pthread_t thread{};
    small_stack_attributes(&attributes, SMALL_STACK_BYTES);
    small_stack_require(pthread_create(&thread, &attributes, run, this), "pthread_create");
    small_stack_require(pthread_detach(thread), "pthread_detach");
    pthread_attr_destroy(&attributes);
  }

  int take(const std::uint8_t* data, std::size_t size) {
    data_ = data;
    size_ = size;
    ready_.release();
    done_.acquire();
    return result_;
  }

 private:
  static void* run(void* self) {
    auto& runner = *static_cast<Runner*>(self);
    for (;;) {
      runner.ready_.acquire();
      runner.result_ = fuzz_one_input(runner.data_, runner.size_);
      runner.done_.release();
    }
  }

  std::binary_semaphore ready_{0};
  std::binary_semaphore done_{0};
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  int result_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto* const runner = std::make_unique<Runner>().release();  // its thread outlives main()
  return runner->take(data, size);
}
