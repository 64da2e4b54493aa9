"""Who acts: the greedy policy of a Q-network, and the episode that a person watches or plays."""
