"""What is trained on, made ready: words, pixels, and arrays with a row for each picture."""
