"""A pretrained network that pictures go through first: which there are, their weights, and training them."""
