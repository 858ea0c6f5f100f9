/* For test programs in C, one file each: counts failed checks and continues. */
#ifndef WAYSTATION_TESTS_CHECK_H
#define WAYSTATION_TESTS_CHECK_H

#include <stdio.h>

static int failures;

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) {                                                      \
      fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      failures++;                                                            \
    }                                                                        \
  } while (0)

#endif
