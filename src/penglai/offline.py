"""What needs no machine: measuring an image before it runs anywhere."""

from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.host import measuring
from penglai.host.image import Image
from penglai.sdk.images import find_image


def measure(
    image: Image, *, stack_size: int = DEFAULT_STACK_SIZE, kind: str = "normal", scheme: str = "penglai-2"
) -> bytes:
    """The measurement that an enclave made from image has; 32 bytes.

    image: path, bytes, or the name of a shipped demo.  The rest, and what it raises: as for
    `penglai.host.measuring.measure`.
    """
    return measuring.measure(image, stack_size=stack_size, kind=kind, scheme=scheme, find_image=find_image)
