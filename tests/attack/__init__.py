"""Attacks on the whole system: `make attack` runs every class of them and prints one table.

A class of attack is a module with a TITLE and `attack(effort) -> Tally`; classes.py lists them all.
"""
