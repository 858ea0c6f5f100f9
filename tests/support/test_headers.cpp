// The program that the precompiled headers belong to. It has no test, and nothing builds it but
// they.
