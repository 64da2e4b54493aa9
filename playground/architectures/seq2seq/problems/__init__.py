"""What it learns: pairs that a task generates or the user's own, as batches of tensors, and the baselines."""
