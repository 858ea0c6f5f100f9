/* libcrypto.so: OpenSSL's libcrypto, by the linker. See CMakeLists.txt. */
typedef int waystation_no_code;
