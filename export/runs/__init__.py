"""Whole ways from data to a trained model."""
