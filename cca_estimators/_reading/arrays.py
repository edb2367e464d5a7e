"""Arrays of libraries other than NumPy: where they lie, and the way there and back.

They are computed on where they lie while scikit-learn's `array_api_dispatch` is on, and read as
NumPy arrays while it is off.
"""

from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from sklearn import get_config

from cca_estimators._compat import convert_to_numpy, get_namespace, most_precise_dtype

_OWN_PARTS = ("cca_estimators._algebra.", "cca_estimators.retrieval._search")


class Place(NamedTuple):
    """Where arrays of a library lie: its namespace, and a device."""

    xp: Any
    device: Any

    @property
    def computes(self):
        """Whether work is done there: not on tensors of the CPU, which are NumPy arrays at no cost.

        Nor where there is no float64, in which moments are gathered.
        """
        on_cpu = getattr(self.device, "type", self.device) == "cpu"
        return not on_cpu and most_precise_dtype(self.xp, self.device) == self.xp.float64

    @property
    def float_dtypes(self):
        """The types of real numbers that work is done in, the most precise first."""
        precise = most_precise_dtype(self.xp, self.device)
        return list(dict.fromkeys([precise, self.xp.float32]))

    def put(self, array):
        """Return a NumPy array as one that lies here, without a copy if that can be."""
        if not isinstance(array, np.ndarray):
            return array
        if array.dtype == np.float64:
            array = array.astype(self._of_float64(), copy=False)
        if not array.flags.writeable or any(stride < 0 for stride in array.strides):
            array = array.copy()
        return self.xp.asarray(array, device=self.device)

    def _of_float64(self):
        precise = most_precise_dtype(self.xp, self.device) == self.xp.float64
        return np.float64 if precise else np.float32


def is_of_library(array):
    """Tell whether an array is one of PyTorch, CuPy or another library that is not NumPy."""
    if isinstance(array, (np.ndarray, np.generic, type)):
        return False
    return hasattr(array, "detach") or hasattr(array, "__array_namespace__")


def place_of(array):
    """Return where an array lies; None: NumPy, or any other container, or dispatch is off."""
    if not (get_config()["array_api_dispatch"] and is_of_library(array)):
        return None
    return Place(get_namespace(array)[0], array.device)


def common_place(arrays):
    """Return where all arrays lie.

    Parameters
    ----------
    arrays : dict of array-like by view name

    Raises
    ------
    ValueError
        If they do not lie together.
    """
    places = {name: place_of(rows) for name, rows in arrays.items()}
    first, *others = places.values()
    if any(place != first for place in others):
        told = {name: place_name(place) for name, place in places.items()}
        raise ValueError(
            f"The views lie in several places: {told}. Move them to one library and device."
        )
    return first


def place_name(place):
    """Return a place in words."""
    if place is None:
        return "NumPy"
    return f"{place.xp.__name__.rpartition('.')[2]} on {place.device}"


def to_host(array):
    """Return an array of any library and device as a NumPy array, without a copy if that can be."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return (array.float() if str(array.dtype) == "torch.bfloat16" else array).numpy()
    if is_of_library(array):
        return convert_to_numpy(array, array.__array_namespace__())
    return array


def converted(value, function):
    """Return a value with its arrays, at any depth, replaced; the value itself if none is.

    What is looked into are containers, estimators, and objects of the algebra.

    Parameters
    ----------
    value : object
    function : callable
        From an array of NumPy or another library to what replaces it.
    """
    if isinstance(value, np.ndarray) or is_of_library(value):
        return function(value)
    if type(value) in (list, tuple):
        if value and isinstance(value[0], (str, Number)):  # labels, of which there may be many
            return value
        parts = [converted(part, function) for part in value]
        changed = any(new is not old for new, old in zip(parts, value, strict=True))
        return type(value)(parts) if changed else value
    parts = value if type(value) is dict else _parts(value)
    after = {name: converted(part, function) for name, part in parts.items()}
    if all(after[name] is part for name, part in parts.items()):
        return value
    if type(value) is dict:
        return after
    changed = object.__new__(type(value))  # a copy would ask for its state, and move all arrays
    vars(changed).update(vars(value) | after)
    return changed


def _parts(value):
    """Return what is looked into: of an estimator, what it has learnt, and steps that have."""
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return {}
    if hasattr(value, "get_params"):
        return {n: part for n, part in vars(value).items() if n.endswith("_") or n == "steps"}
    return vars(value) if type(value).__module__.startswith(_OWN_PARTS) else {}


def on_host(value):
    """Return a value whose arrays are all of NumPy."""
    return converted(value, to_host)


def moved(value, place):
    """Return a value with its arrays of numbers at a place."""

    def move(array):
        if place is None:
            return to_host(array)
        if place_of(array) == place:
            return array
        array = to_host(array)
        return place.put(array) if array.dtype.kind in "fiub" else array

    return converted(value, move)


def place_within(value):
    """Return where the first array of another library than NumPy lies within a value, or None."""
    found = []

    def note(array):
        found.append(place_of(array))
        return array

    converted(value, note)
    return next((place for place in found if place is not None), None)
