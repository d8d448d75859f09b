"""The median, for loops: numba's own takes a second to compile wherever it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled


@compiled
def median(values: NDArray[np.floating[Any]]) -> float:
    """Of at least one number, none of them NaN; of an even number the mean of the middle two.

    By partitions about a middle value (Hoare 1961), of a copy.
    """
    count = values.size
    work = np.empty_like(values)
    for i in range(count):
        work[i] = values[i]
    middle = count // 2
    low, high = 0, count - 1
    while low < high:
        pivot = work[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while work[i] < pivot:
                i += 1
            while work[j] > pivot:
                j -= 1
            if i <= j:
                work[i], work[j] = work[j], work[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            break
    upper = np.float64(work[middle])
    if count % 2:
        return float(upper)
    lower = work[0]
    for i in range(1, middle):
        lower = work[i] if work[i] > lower else lower
    return float(0.5 * (np.float64(lower) + upper))
