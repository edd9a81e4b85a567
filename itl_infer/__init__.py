"""Text-to-image search that runs anywhere a CPU does."""
