"""Promises of snapshots: what is accepted, and one life."""

from tests.mutation.promise import Mutation

MONITOR = "src/penglai/monitor"
TESTS = ("tests/monitor/test_snapshot.py",)

SNAPSHOTS = [
    Mutation(
        "what somebody has changed in a snapshot is noticed",
        "src/penglai/attestation/sealed.py",
        "            decryptor.finalize_with_tag(tag)\n",
        "            pass\n",
        ("tests/attestation/test_sealed.py", *TESTS),
    ),
    Mutation(
        "the head of a snapshot is sealed with every piece",
        "src/penglai/attestation/sealed.py",
        "        decryptor.authenticate_additional_data(self._head + piece[:HEAD_BYTES])\n",
        "        decryptor.authenticate_additional_data(piece[:HEAD_BYTES])\n",
        ("tests/attestation/test_sealed.py",),
    ),
    Mutation(
        "only this monitor has the key of its snapshots",
        f"{MONITOR}/keys.py",
        "info=SNAPSHOT_LABEL + self.monitor_hash",
        "info=SNAPSHOT_LABEL",
        ("tests/monitor/test_keys.py",),
    ),
    Mutation(
        "a snapshot is crossed off when it is restored",
        f"{MONITOR}/freshness.py",
        "            del known[uid]\n",
        "            pass\n",
        TESTS,
    ),
    Mutation(
        "of two who restore a snapshot at once one has it",
        f"{MONITOR}/restore.py",
        "        _cross_off(platform, filling.head)\n",
        "        pass\n",
        TESTS,
    ),
    Mutation(
        "only the latest snapshot of an enclave is restored",
        f"{MONITOR}/freshness.py",
        "    if known[uid] != snapshot:\n",
        "    if False:\n",
        TESTS,
    ),
    Mutation(
        "what moves is noted first",
        f"{MONITOR}/snapshot.py",
        "    platform.freshness.expect(bytes(head.uid), bytes(head.id))\n",
        "",
        TESTS,
    ),
    Mutation(
        "what has moved away ends here",
        f"{MONITOR}/snapshot.py",
        "    end(platform, enclave, after)\n",
        "",
        TESTS,
    ),
    Mutation(
        "who has begun another snapshot moves into none of the first",
        f"{MONITOR}/snapshot.py",
        "    if enclave.sealing is None or enclave.sealing.head.number != number:\n",
        "    if enclave.sealing is None:\n",
        TESTS,
    ),
    Mutation(
        "an enclave that goes on has left its snapshot behind",
        f"{MONITOR}/monitor.py",
        "                enclave.state, enclave.sealing = next_state(Call.RESUME, enclave.state), None\n",
        "                enclave.state = next_state(Call.RESUME, enclave.state)\n",
        TESTS,
    ),
    Mutation(
        "an enclave that begins has left its snapshot behind",
        f"{MONITOR}/monitor.py",
        "            enclave.state, enclave.sealing = after, None\n            return self._go(",
        "            enclave.state = after\n            return self._go(",
        TESTS,
    ),
    Mutation(
        "an answer to an ocall ends a snapshot that is being made",
        f"{MONITOR}/monitor.py",
        "                enclave.state, enclave.sealing = after, None\n                return self._go(",
        "                enclave.state = after\n                return self._go(",
        TESTS,
    ),
    Mutation(
        "the enclave's policy decides which snapshots there are",
        f"{MONITOR}/snapshot.py",
        "    if not enclave.policy & needed:\n",
        "    if False:\n",
        TESTS,
    ),
    Mutation(
        "nothing is moved in the middle of a call",
        f"{MONITOR}/snapshot.py",
        "    if enclave.frames:\n",
        "    if False:\n",
        TESTS,
    ),
    Mutation(
        "nothing is moved that others have a part in",
        f"{MONITOR}/snapshot.py",
        "    if any(region.source is not Source.POOL or region.lent for region in enclave.regions):\n",
        "    if False:\n",
        TESTS,
    ),
    Mutation(
        "a handle means the same program after a move",
        f"{MONITOR}/restore.py",
        "server is not None and server.measurement == measurement",
        "server is not None",
        TESTS,
    ),
    Mutation(
        "a clone is another enclave",
        f"{MONITOR}/restore.py",
        "secrets.token_bytes(ID_BYTES) if clone else bytes(head.uid)",
        "bytes(head.uid)",
        TESTS,
    ),
]
