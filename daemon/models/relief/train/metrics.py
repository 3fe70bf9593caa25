"""What models are judged by."""

import numpy as np


def aligned_error(found, truth):
    """Root mean square error of one map [H, W] after the best scale and shift by least squares, of either sign."""
    x, y = found.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    scale = (x @ y) / max(x @ x, 1e-12)
    return float(np.sqrt(np.mean((y - scale * x) ** 2)))
