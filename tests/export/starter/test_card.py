"""The card of the shipped bundle is what its manifest says, in the words of the template."""

from __future__ import annotations

import json

from export.starter.card import write_card
from tests.places import STARTER


def test_the_shipped_card_is_the_one_of_its_manifest() -> None:
    manifest = json.loads((STARTER / "bundle.json").read_text(encoding="utf-8"))
    assert write_card(manifest) == (STARTER / "CARD.md").read_text(encoding="utf-8")


def test_what_was_not_measured_has_no_row() -> None:
    manifest = json.loads((STARTER / "bundle.json").read_text(encoding="utf-8"))
    for figures in manifest["measured"].values():
        del figures["objects"]
    card = write_card(manifest)
    assert "| ImageNet names |" in card
    assert "COCO photographs" not in card


def test_a_trunk_that_learned_from_another_is_said_to_have() -> None:
    manifest = json.loads((STARTER / "bundle.json").read_text(encoding="utf-8"))
    manifest["trunk"]["weights"] = "learned from efficientnet_lite0 (a package)"
    card = write_card(manifest)
    assert "with weights learned from efficientnet_lite0 (a package), without labels" in card
    assert "with the ImageNet weights" not in card
    assert "far less than the bundle that comes with the package" in card
