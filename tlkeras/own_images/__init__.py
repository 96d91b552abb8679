"""Your own photographs: compare ways to classify them, and take the best home."""

from tlkeras.own_images.findings import Adapted as Adapted
from tlkeras.own_images.study import InterruptedStudy as InterruptedStudy
from tlkeras.own_images.study import adapt_images as adapt_images
from tlkeras.own_images.study import predict as predict
