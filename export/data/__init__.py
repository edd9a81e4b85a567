"""What is trained on, made ready: words so far."""
