"""The compiler and the cache: everything that is built on the user's machine is built here."""
