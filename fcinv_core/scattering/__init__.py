"""From force constants to S(Q,E): modes, intensities, resolution, bins."""

from fcinv_core.scattering.forward import ForwardModel, simulate_histogram
from fcinv_core.scattering.resolution import EnergyResolution

__all__ = ["EnergyResolution", "ForwardModel", "simulate_histogram"]
