/* libssl.so: OpenSSL's libssl, by the linker, and the one function that it no longer has by this name.
 * See CMakeLists.txt. */
#include <openssl/ssl.h>

#undef SSL_get_peer_certificate

__attribute__((visibility("default"))) X509 *SSL_get_peer_certificate(const SSL *ssl);

/* The peer's certificate, owned by the caller; NULL if it sent none. */
X509 *SSL_get_peer_certificate(const SSL *ssl)
{
  return SSL_get1_peer_certificate(ssl);
}
