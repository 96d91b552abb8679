"""Look into a network: the inputs that excite a filter most, and the pixels that speak for a class."""

from tlkeras.visualize.ascent import NotFiniteError as NotFiniteError
from tlkeras.visualize.ascent import Pictures as Pictures
from tlkeras.visualize.ascent import activation_maximization as activation_maximization
from tlkeras.visualize.ascent import maximize as maximize
from tlkeras.visualize.ascent import prepare as prepare
from tlkeras.visualize.attribution import grad_cam as grad_cam
from tlkeras.visualize.attribution import integrated_gradients as integrated_gradients
from tlkeras.visualize.filters import carried_over as carried_over
from tlkeras.visualize.filters import filter_rows as filter_rows
from tlkeras.visualize.filters import responses as responses
from tlkeras.visualize.images import Fourier as Fourier
from tlkeras.visualize.images import Pixels as Pixels
