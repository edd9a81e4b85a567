"""How learning rates rise and fall."""

from __future__ import annotations

import math

WARM_UP_STEPS = 200


def cosine_rate(step: int, steps: int, warm_up: int, steady: int = 0) -> float:
    """Up to 1 in equal steps over the first `warm_up`, 1 until `steady`, then half a cosine down to 0 at `steps`."""
    if step < warm_up:
        return (step + 1) / warm_up
    start = max(warm_up, steady)
    return 0.5 * (1 + math.cos(math.pi * max(0, step - start) / max(1, steps - start)))
