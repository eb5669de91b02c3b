"""How a machine behaves, by the names that programs and commands use."""

from enum import StrEnum

from penglai.abi.errors import BadArgumentError


class ProfileName(StrEnum):
    """Names of profiles."""

    NATIVE = "native"
    """As this package means the ABI."""
    TVM = "tvm"
    """As Penglai-TVM's own machine does (docs/compatibility.md)."""

    @classmethod
    def named(cls, name: str) -> "ProfileName":
        """The profile of this name.  Raises BadArgumentError if there is none."""
        if name not in list(cls):
            raise BadArgumentError(f"there is no profile {name!r}; there are {', '.join(cls)}")
        return cls(name)
