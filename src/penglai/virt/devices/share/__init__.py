"""A directory of the real machine, seen in the guest: a file server for 9P2000.L on virtio.

    mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 share /share

The guest is hostile, its kernel included: it chooses every byte of every message.  What holds whatever it
says:

- It reaches what is in the directory and nothing else.  A name is one name, never a path; symbolic links are
  read, never followed; the way up ends at the directory.  See `nodes`.
- Nothing is opened but regular files and directories; nothing is made but these, and symbolic and hard links;
  no file gets set-user-id or set-group-id.
- Descriptors, memory and messages have limits.  Not so the disk: a share that is not read-only can be filled.

What somebody on the real machine moves out of the directory while the guest holds it stays in its hands until
it lets go, as with an open file; the way up from there is closed.  Whoever follows, on the real machine, the
symbolic links that the guest has made goes where the guest points.

All new files belong to the user who runs the machine, and get that user's umask.

From below: `wire` (messages), `entries` (reading directories), `nodes` (descriptors that cannot be led out),
`attributes`, `tree` (the client's handles, and what can be done with them), `server` (every message with its
handler), `function` (the virtio device).
"""

from penglai.virt.devices.share.function import ShareFunction

__all__ = ["ShareFunction"]
