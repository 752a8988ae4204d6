"""Histograms of S(Q, E): the data model, and Mantid's files."""

from fcinv_core.histogram.axes import Axis
from fcinv_core.histogram.experiment import ExperimentInfo, GoniometerAxis
from fcinv_core.histogram.model import SQEHistogram
from fcinv_core.histogram.projection import Projection
from fcinv_core.histogram.validation import check_invertible

__all__ = [
    "Axis",
    "ExperimentInfo",
    "GoniometerAxis",
    "Projection",
    "SQEHistogram",
    "check_invertible",
]
