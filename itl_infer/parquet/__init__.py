"""Tables of paths and embeddings on any file system: one schema, written whole, checked as they are read."""
