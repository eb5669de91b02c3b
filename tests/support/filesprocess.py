"""A process with a machine and a file server, for tests that kill it: filesprocess.py DISK.

Each line of its input is [name, content in hexadecimal], a file to be made; it answers when it is made.  An
empty line asks for all files.
"""

import json
import sys
from pathlib import Path

import penglai
from tests.support.fileserver import Files, Server


def main(disk: str) -> None:
    """Serve until the input ends."""
    with penglai.Machine("64M", 1, state=Path(disk).with_suffix(".keys")) as machine:
        machine.use_disk(file=Path(disk))
        Server(machine)
        files = Files(machine)
        for line in sys.stdin:
            asked = json.loads(line)
            answer: object = "made"
            if asked:
                files.put(asked[0], bytes.fromhex(asked[1]))
            else:
                found = files.tree()
                assert isinstance(found, dict)
                answer = {
                    name: content.hex() for name, content in found.items() if isinstance(content, bytes)
                }
            print(json.dumps(answer), flush=True)  # noqa: T201 - it is what the test reads


main(sys.argv[1])
