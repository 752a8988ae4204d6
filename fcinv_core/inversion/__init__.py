"""From measured histograms to force constants with error bars."""

from fcinv_core.inversion.born_charges import BornCharges
from fcinv_core.inversion.pipeline import invert
from fcinv_core.inversion.result import InversionResult
from fcinv_core.inversion.series import TemperatureSeries, invert_series

__all__ = ["BornCharges", "InversionResult", "TemperatureSeries", "invert", "invert_series"]
