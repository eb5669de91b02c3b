"""Devices of the machine: what answers on the host's bus where no RAM is.

All of them live on the thread of the host's hart: what comes from elsewhere is left in a queue, and the hart
is asked to look.
"""
