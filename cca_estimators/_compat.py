"""The one door for private and version-dependent names of other packages.

Each line says why the name is needed, and what would let it go. Nothing heavy is imported here.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

# What scikit-learn's dispatch on the array API is made of, which it does not export: the namespace
# of arrays, the way back to NumPy, and the precision of a device; they go when it exports them.
from sklearn.utils._array_api import _convert_to_numpy as convert_to_numpy
from sklearn.utils._array_api import _max_precision_float_dtype as most_precise_dtype
from sklearn.utils._array_api import get_namespace

# _openmp_effective_n_threads: as many threads as OpenMP is set to use; goes when scikit-learn
# exports it.
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as effective_n_threads

# check_matplotlib_support: the error that scikit-learn's displays raise without matplotlib; goes
# when it is public.
from sklearn.utils._optional_dependencies import check_matplotlib_support

# The domains in `_parameter_constraints`, which scikit-learn reads but does not export; they go
# when scikit-learn exports them.
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    validate_parameter_constraints,
)

# The containers of `set_output`, for views inside a mapping, which scikit-learn's own wrapper does
# not reach; they go when it wraps mappings.
from sklearn.utils._set_output import ADAPTERS_MANAGER
from sklearn.utils._set_output import _get_output_config as get_output_config

# _get_feature_names: the names of the columns of a DataFrame of any library, where they are
# strings; goes when it is public.
from sklearn.utils.validation import _get_feature_names as column_names

# _fit_context: validates parameters and skips the validation of nested estimators, as
# scikit-learn's own fit methods do; goes when scikit-learn offers it to third parties.
# validate_params: the same for functions. Their types, without which all that they decorate is Any
# to a type checker, go when scikit-learn has types.
if TYPE_CHECKING:
    _Function = TypeVar("_Function", bound=Callable[..., Any])

    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Function], _Function]: ...
    def validate_params(
        constraints: dict[str, Any], *, prefer_skip_nested_validation: bool
    ) -> Callable[[_Function], _Function]: ...
else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import validate_params

# _VisualBlock: the parts of an estimator in its diagram; goes when scikit-learn exports it. The
# first place is that of 1.7 and newer, the second goes with 1.6.
try:
    from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
except ImportError:
    from sklearn.utils._estimator_html_repr import _VisualBlock as VisualBlock

__all__ = [
    "ADAPTERS_MANAGER",
    "HasMethods",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "VisualBlock",
    "bitwise_count",
    "check_matplotlib_support",
    "column_names",
    "convert_to_numpy",
    "effective_n_threads",
    "fit_context",
    "get_namespace",
    "get_output_config",
    "most_precise_dtype",
    "validate_parameter_constraints",
    "validate_params",
    "warn_user",
]

# bitwise_count: new in NumPy 2.0; the table goes when NumPy 1.26 does.
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


def _bitwise_count_of_table(words, out=None):
    """Return the number of set bits of each 64-bit word, as NumPy 2 counts them."""
    return _BITS[words[..., None].view(np.uint8)].sum(axis=-1, dtype=np.uint8, out=out)


bitwise_count = getattr(np, "bitwise_count", _bitwise_count_of_table)

_NOT_THE_USER = {"cca_estimators", "contextlib", "joblib", "sklearn", "skorch", "torch"}


def warn_user(message, category=UserWarning):
    """Warn at the line of the user's code that led here, whatever called what in between.

    It goes when Python 3.11 does: `warnings.warn` then has ``skip_file_prefixes``.
    """
    frame, level = inspect.currentframe().f_back, 2
    while frame.f_back is not None and _package_of(frame) in _NOT_THE_USER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package_of(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]
