"""Graphs made smaller or faster, and the proof that they compute the same."""
