"""The replay buffer, and the priorities with which its transitions are sampled."""
