"""A PC for an operating system, around a hart: firmware services, devices, device tree, loader.

None of it is trusted: it sees RAM as the host's bus shows it, and makes no call of the monitor that another
host could not make.
"""
