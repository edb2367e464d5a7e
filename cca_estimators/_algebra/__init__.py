"""Pure functions of arrays: moments, kernels, solvers. No estimator is known here."""
