"""What a user's Python program uses of the host: programs, enclaves, the console."""
