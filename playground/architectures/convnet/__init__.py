"""ConvNet: a convolutional network that classifies images."""

from dlplay.architectures.convnet.card import card as card
