// Owns the tests' precompiled headers; contains no test.
int main() {}
