"""Traps of the same programs on QEMU and on the harts here: cases, the program that runs them, outcomes."""
