"""The bundle that comes with the package: its pictures, its training, its card."""
