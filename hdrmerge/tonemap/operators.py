"""All tone-mapping operators by name. Looking one up loads neither numpy nor the operator."""

from __future__ import annotations

from hdrmerge.tonemap.global_operators import GLOBAL_OPERATORS
from hdrmerge.tonemap.local_operators import LOCAL_OPERATORS
from hdrmerge.tonemap.record import Operator, find

OPERATORS: dict[str, Operator] = {
    operator.name: operator for operator in (*LOCAL_OPERATORS, *GLOBAL_OPERATORS)
}


def find_operator(name: str) -> Operator:
    """The operator of this name or alias; raises UsageError for an unknown one."""
    return find(name, OPERATORS)
