"""A fleet: machines on several nodes, and enclaves placed on them.  Needs Ray: pypenglai[fleet]."""
