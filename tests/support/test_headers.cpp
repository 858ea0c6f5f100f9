// The program that owns the precompiled headers of the tests. It has no test of its own.
int main() {}
