"""The secure monitor: page ownership, page tables, life cycle.  The trusted part.

Read it in this order: lifecycle, ownership, pagetable, regions, enclave, registry, platform; hosttable and
create; usermem, mapping and servers; relay, sharing, reflect, keys and reports; calls, ending, execution;
freshness, sealing, snapshot, firstpiece and restore; monitor.  invariants says what must always be true.
"""

from penglai.monitor.monitor import Monitor

__all__ = ["Monitor"]
