"""The array types of the analysis, and those that stored results hold."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def _read_only(dtype: type[np.generic], kinds: str) -> PlainValidator:
    """A copy of the values as a read-only array of one axis; refuses others, and numbers not finite."""

    def validated(value: Any) -> NDArray[Any]:
        try:
            array = np.asarray(value)
            if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
                raise ValueError("no list of such values")
            array = array.astype(dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"Input should be a list of {dtype.__name__} values") from error
        if not np.isfinite(array).all():
            raise ValueError("Input should be finite numbers")
        array.flags.writeable = False
        return array

    return PlainValidator(validated)


_AS_LIST = PlainSerializer(lambda array: np.asarray(array).tolist(), return_type=list)

#: Fields of stored results: a list in JSON, a read-only array of shape ``(n,)`` in Python.
StoredFloats = Annotated[Floats, _read_only(np.float64, "fiu"), _AS_LIST]
StoredInts = Annotated[Ints, _read_only(np.int64, "iu"), _AS_LIST]
StoredBools = Annotated[Bools, _read_only(np.bool_, "b"), _AS_LIST]
