"""Masked language modelling and next-sentence prediction on a text: rows and masks, losses and metrics, n-gram baselines."""
