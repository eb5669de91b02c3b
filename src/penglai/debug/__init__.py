"""What a machine's owner sees of a program that goes wrong: backtraces of faults, and a stub for gdb."""
