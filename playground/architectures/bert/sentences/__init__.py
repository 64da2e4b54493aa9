"""A typed sentence: how the encoder reads it, and what the model predicts at its words."""
