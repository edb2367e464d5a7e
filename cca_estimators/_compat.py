"""The one door for private and version-dependent names of other packages.

Each line says why the name is needed, and what would let it go. Nothing heavy is imported here.
"""

# _fit_context: validates parameters and skips the validation of nested estimators, as
# scikit-learn's own fit methods do; goes when scikit-learn offers it to third parties.
from sklearn.base import _fit_context as fit_context

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
    validate_params,
)

# The containers of `set_output`, for views inside a mapping, which scikit-learn's own wrapper does
# not reach; they go when it wraps mappings.
from sklearn.utils._set_output import ADAPTERS_MANAGER
from sklearn.utils._set_output import _get_output_config as get_output_config

# _get_feature_names: the names of the columns of a DataFrame of any library, where they are
# strings; goes when it is public.
from sklearn.utils.validation import _get_feature_names as column_names

__all__ = [
    "ADAPTERS_MANAGER",
    "HasMethods",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "check_matplotlib_support",
    "column_names",
    "effective_n_threads",
    "fit_context",
    "get_output_config",
    "validate_parameter_constraints",
    "validate_params",
]
