"""Training through skorch: the estimator that all deep methods share, its net, its batches."""
