// The main() of unit tests. Tests and library run on small stacks, because the host application
// chooses the library's stack size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/small_stack.h"

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  return run_on_small_stacks([] { return RUN_ALL_TESTS(); });
}
