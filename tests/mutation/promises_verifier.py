"""Promises of the verifier: what it reads, what it believes, and what it lets others take of it."""

from tests.mutation.promise import Mutation

WHERE = "src/penglai/verifier"
EVIDENCE, POLICY, SERVICE = (f"tests/verifier/test_{name}.py" for name in ("evidence", "policy", "service"))

VERIFIER = [
    Mutation(
        "a token says what its report says, in one encoding",
        f"{WHERE}/evidence.py",
        "    if as_eat(report) != data:\n",
        "    if False:\n",
        (EVIDENCE,),
    ),
    Mutation(
        "a token is of the algorithm of reports",
        f"{WHERE}/evidence.py",
        "    if algorithm != eat.ALGORITHM:\n",
        "    if False:\n",
        (EVIDENCE,),
    ),
    Mutation(
        "a device that the policy does not name is not believed",
        f"{WHERE}/policy.py",
        "device_keys=self.device_keys, monitor_hashes=self.monitor_hashes",
        "device_keys=None, monitor_hashes=self.monitor_hashes",
        (EVIDENCE, POLICY),
    ),
    Mutation(
        "an old report is not believed by a policy",
        f"{WHERE}/policy.py",
        "        report.check_nonce(nonce)\n",
        "",
        (EVIDENCE,),
    ),
    Mutation(
        "a key of a policy that nobody knows is an error",
        f"{WHERE}/policyfile.py",
        "    fields.end()\n    return found\n",
        "    return found\n",
        (POLICY,),
    ),
    Mutation(
        "a device that was not checked is no reason to affirm",
        f"{WHERE}/result.py",
        "WARNING if debuggable or policy.device_keys is None else AFFIRMING",
        "WARNING if debuggable else AFFIRMING",
        (SERVICE,),
    ),
    Mutation(
        "the service holds so many connections and no more",
        f"{WHERE}/service.py",
        "            busy = len(self._open) >= MOST_AT_ONCE\n",
        "            busy = False\n",
        (SERVICE,),
    ),
    Mutation(
        "who takes too long is cut off",
        f"{WHERE}/service.py",
        "        self.end_connections(time.monotonic())\n",
        "        pass\n",
        (SERVICE,),
    ),
]
"""Each with the tests that must notice."""
