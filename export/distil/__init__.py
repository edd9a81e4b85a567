"""A student learns what a teacher sees in photographs that nobody labelled."""
