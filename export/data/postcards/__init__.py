"""Captioned pictures drawn of emoji, so that the whole path runs without a download."""
