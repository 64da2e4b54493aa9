"""How close samples are to held-out examples, and how they change over the training."""
