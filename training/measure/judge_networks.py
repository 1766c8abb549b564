"""Names of the networks that can judge the feature distance."""

from __future__ import annotations

from typing import Final

EFFICIENTNET: Final = "efficientnet-lite0"
VGG16: Final = "vgg16"
JUDGE_NETWORKS: Final = (EFFICIENTNET, VGG16)
