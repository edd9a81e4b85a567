"""What a trunk, and the teachers beside it, say of each picture."""
