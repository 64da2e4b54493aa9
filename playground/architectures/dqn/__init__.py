"""DQN: an agent that learns the value of its actions by trial and error."""

from dlplay.architectures.dqn.card import card as card
