/* For ThreadSanitizer, which does not know that end-of-file on one end of a socket pair comes after
 * shutdown() on the other. A worker of the web server ends its use of a session with SSL_free, then
 * shuts its end down; the relay's thread begins with SSL_set_bio after it has read end-of-file. Linked
 * with --wrap for these three. */
#include <openssl/ssl.h>
#include <sanitizer/tsan_interface.h>

void __real_SSL_free(SSL *ssl);
void __wrap_SSL_free(SSL *ssl);
int __real_shutdown(int descriptor, int how);
int __wrap_shutdown(int descriptor, int how);
void __real_SSL_set_bio(SSL *ssl, BIO *in, BIO *out);
void __wrap_SSL_set_bio(SSL *ssl, BIO *in, BIO *out);

/* The session that this thread has freed last. */
static _Thread_local SSL *freed;

void __wrap_SSL_free(SSL *ssl) {
  freed = ssl;
  __real_SSL_free(ssl);
}

int __wrap_shutdown(int descriptor, int how) {
  if (freed != NULL) __tsan_release(freed);
  freed = NULL;
  return __real_shutdown(descriptor, how);
}

void __wrap_SSL_set_bio(SSL *ssl, BIO *in, BIO *out) {
  __tsan_acquire(ssl);
  __real_SSL_set_bio(ssl, in, out);
}
