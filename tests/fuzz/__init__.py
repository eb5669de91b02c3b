"""Fuzzing: `make fuzz` feeds each target with mutated data, led by the coverage that it reaches.

A target is a module with a TITLE and `one(data: bytes) -> None`, which raises if a promise is broken; `fresh`
forgets what earlier cases have left, if anything.  targets.py lists them all; corpus/<target>/ has what they
begin with, and every case that broke something.
"""
