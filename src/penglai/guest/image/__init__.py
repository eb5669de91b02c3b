"""Linux as it is booted here: kernel, penglai.ko, BusyBox and ramfs, from Debian's sources.

Everything is kept in the cache under a key of its inputs; what is there is not built again.
"""
