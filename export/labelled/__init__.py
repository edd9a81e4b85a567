"""Labelled photographs: a folder for each class, the words people use for it, and captions made of them."""
