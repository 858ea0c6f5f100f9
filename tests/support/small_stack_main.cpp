// The main() of unit tests. They and the library run on small stacks, since a host chooses the size
// of the stacks that the library gets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/small_stack.h"

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  return run_on_small_stacks([] { return RUN_ALL_TESTS(); });
}
