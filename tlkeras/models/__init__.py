"""Networks of the reports, the strict loading of their weights, and copies that open without this package."""

from tlkeras.models.alexnet import alexnet as alexnet
from tlkeras.models.layers import portable as portable
from tlkeras.models.resnet32 import resnet32 as resnet32
from tlkeras.models.squeezenet import squeezenet as squeezenet
from tlkeras.models.tominet import tominet as tominet
from tlkeras.models.vgg import vgg9 as vgg9
from tlkeras.models.vgg import vgg16 as vgg16
