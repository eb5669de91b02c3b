"""For tests of enclaves: a plugin for pytest, which is there when pytest is and the package is installed."""
