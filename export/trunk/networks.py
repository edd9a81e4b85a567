"""Which networks can be a trunk, by the names that `--trunk` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from export.errors import ExportError
from export.trunk import efficientnet, inception
from export.trunk.names import INCEPTION, LITE0, LITE2
from export.trunk.timm_models import PREFIX, published_timm_trunk, timm_trunk, timm_trunk_with
from export.trunk.trunk import Trunk


@dataclass(frozen=True)
class Network:
    """How a trunk of one name is made. All raise ExportError."""

    untrained: Callable[[], Trunk]
    published: Callable[[], Trunk]  # with the weights that its makers publish
    with_state: Callable[
        [object, str, str], Trunk
    ]  # a state dict, where it is from for errors, and for bundles


_NETWORKS = {
    INCEPTION: Network(inception.inception_v3, inception.published_inception_v3, inception.inception_v3_with),
    **{
        name: Network(
            partial(efficientnet.efficientnet_lite, name),
            partial(efficientnet.published_efficientnet_lite, name),
            partial(efficientnet.efficientnet_lite_with, name),
        )
        for name in (LITE0, LITE2)
    },
}


def find_network(name: str) -> Network:
    """The network `name`: one of those here, or `timm:NAME`."""
    if name in _NETWORKS:
        return _NETWORKS[name]
    if not name.startswith(PREFIX):
        raise ExportError(f"no trunk {name!r}: choose {', '.join(_NETWORKS)} or {PREFIX}NAME")
    architecture = name.removeprefix(PREFIX)
    return Network(
        partial(timm_trunk, architecture),
        partial(published_timm_trunk, architecture),
        lambda state, where, source: timm_trunk_with(
            timm_trunk(architecture), architecture, state, where, source
        ),
    )
