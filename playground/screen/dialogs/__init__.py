"""What is asked or told over the playground: leaving, loading, notes, failures, keys."""
