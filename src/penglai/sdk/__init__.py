"""The SDK: the compiler driver, the enclave library in C, and demos."""
