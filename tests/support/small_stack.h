/* Threads with the smallest stacks that the library supports, see "Stacks" in
 * module/EMBEDDING.md. For C and C++; define _GNU_SOURCE first. */
#ifndef WAYSTATION_TESTS_SMALL_STACK_H
#define WAYSTATION_TESTS_SMALL_STACK_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __has_feature
#define WAYSTATION_HAS_FEATURE(name) __has_feature(name)
#else
#define WAYSTATION_HAS_FEATURE(name) 0
#endif

/* The documented minimum. */
enum { SMALL_STACK_BYTES = 64 * 1024 };

/* The size for tests. Sanitizers pad each variable and run on the same stack: with
 * AddressSanitizer tests need 96 to 128 KiB. */
#if defined(__SANITIZE_ADDRESS__) || WAYSTATION_HAS_FEATURE(address_sanitizer)
enum { TEST_STACK_BYTES = 128 * 1024 };
#else
enum { TEST_STACK_BYTES = SMALL_STACK_BYTES };
#endif

/* A frame must not be able to step over the guard into other memory. */
enum { SMALL_STACK_GUARD_BYTES = 256 * 1024 };

/* Ends the program if a pthread function returned an error. */
static inline void small_stack_require(int error, const char *function) {
  if (error == 0) return;
  fprintf(stderr, "small stack: %s: %s\n", function, strerror(error));
  abort();
}

/* Initializes thread attributes with a stack of this many bytes. */
static inline void small_stack_attributes(pthread_attr_t *attributes, size_t bytes) {
  small_stack_require(pthread_attr_init(attributes), "pthread_attr_init");
  small_stack_require(pthread_attr_setstacksize(attributes, bytes), "pthread_attr_setstacksize");
  small_stack_require(pthread_attr_setguardsize(attributes, SMALL_STACK_GUARD_BYTES),
                      "pthread_attr_setguardsize");
}

struct small_stack_call {
  int (*function)(void);
  int result;
};

static inline void *small_stack_start(void *argument) {
  struct small_stack_call *call = (struct small_stack_call *)argument;
  call->result = call->function();
  return NULL;
}

/* Calls `function` on a thread with a small stack and returns its result. Later threads of the
 * program also get small stacks, unless they set another size. A stack overflow ends the program
 * with SIGSEGV.
 *
 * With ThreadSanitizer it calls `function` directly: the sanitizer keeps 767 KiB of each stack for
 * itself, and a test that forks must not have a second thread. */
static inline int run_on_small_stacks(int (*function)(void)) {
#if defined(__SANITIZE_THREAD__) || WAYSTATION_HAS_FEATURE(thread_sanitizer)
  return function();
#else
  struct small_stack_call call = {function, 0};
  pthread_attr_t attributes;
  pthread_t thread;
  small_stack_attributes(&attributes, TEST_STACK_BYTES);
  small_stack_require(pthread_setattr_default_np(&attributes), "pthread_setattr_default_np");
  small_stack_require(pthread_create(&thread, &attributes, small_stack_start, &call),
                      "pthread_create");
  small_stack_require(pthread_join(thread, NULL), "pthread_join");
  pthread_attr_destroy(&attributes);
  return call.result;
#endif
}

#endif
