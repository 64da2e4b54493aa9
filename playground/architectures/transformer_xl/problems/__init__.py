"""The two problems that a Transformer-XL is trained on: data, loss, held-out metrics with a memory of any length, and baselines."""
