"""Mutation testing: `make mutate` changes the code in small ways and sees whether a test fails.

planted: promises broken by hand, each with the tests that hold it.  python, c: changes that are made by rule,
to every line.  reach: which test executes which line, so that only those run.  runner: one mutant after the
other in processes of their own.  survivors.toml: those that nothing can notice, each with the reason.
"""
