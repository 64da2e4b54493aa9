"""Fine-tuning on texts with a class each: rows, loss and metrics, and the baselines that count words."""
