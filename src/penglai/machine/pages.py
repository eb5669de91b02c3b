"""Page numbers, as arrays.

In a module of its own: what boots an operating system has no use for numpy, and would wait for it.
"""

import numpy as np
from numpy.typing import NDArray

Pages = NDArray[np.int64]
"""Page numbers: 0 is the first page of RAM."""
