"""The secure monitor: page ownership, page tables, life cycle.  The trusted part.

Read it in this order: lifecycle, ownership, enclave, create (hosttable, pagetable, measure), execution,
calls (heap), ending, monitor.  invariants says what must always be true.
"""

from penglai.monitor.monitor import Monitor

__all__ = ["Monitor"]
