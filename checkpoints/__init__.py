"""Checkpoints on disk: a bounded format, an atomic store, the small trained models that are shipped. Knows neither the playground nor torch."""
