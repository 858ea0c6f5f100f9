/* EMBEDDING.md's reader, on the audit that audit.c wrote. */
#include "host.h"

static int rows;
#define printf rows++, printf
#include "print.inc"
#undef printf

int main(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
#include "read.inc"
  require(error.message[0] == '\0', error.message);
  require(rows == 1, "one row is expected");
  return 0;
}
