"""From measured histograms to force constants with error bars."""

from fcinv_core.inversion.born_charges import BornCharges
from fcinv_core.inversion.pipeline import invert
from fcinv_core.inversion.result import InversionResult

__all__ = ["BornCharges", "InversionResult", "invert"]
