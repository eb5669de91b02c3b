"""The untrusted kernel side in Python: loads ELFs, builds page tables, serves ocalls, schedules."""
