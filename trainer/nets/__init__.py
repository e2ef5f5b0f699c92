"""Networks by name, and the settings that they take."""

from trainer.nets.catalog import build_net, check_net, usual_size
from trainer.nets.settings import NetSettings, WeightsFile
from trainer.nets.simple_cnn import REFERENCE_SIZE, CnnOptions, ReferenceCnn, SimpleCnn
from trainer.nets.torchvision_nets import auxiliary_weight

__all__ = [
    "REFERENCE_SIZE",
    "CnnOptions",
    "NetSettings",
    "ReferenceCnn",
    "SimpleCnn",
    "WeightsFile",
    "auxiliary_weight",
    "build_net",
    "check_net",
    "usual_size",
]
