"""The names of networks that `--trunk` takes as they are; here, where knowing a name loads no network."""

INCEPTION = "inception_v3"
LITE0, LITE2 = "efficientnet_lite0", "efficientnet_lite2"
