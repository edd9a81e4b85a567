"""Where things are in a checkout."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
FIXTURES = TESTS / "fixtures"
STARTER = ROOT / "artifacts" / "starter"
SHARED = ROOT.parent / "shared"
"""Data that stands beside the checkout, and not everywhere."""
