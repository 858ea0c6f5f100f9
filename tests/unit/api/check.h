/* For test programs in C, of one file each: counts what is not so, and goes on. */
#ifndef WAYSTATION_TESTS_CHECK_H
#define WAYSTATION_TESTS_CHECK_H

#include <stdio.h>

static int failures;

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) {                                                      \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      failures++;                                                            \
    }                                                                        \
  } while (0)

#endif
