"""What the reduction left in files: instrument, energy range, charges, history."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from fcinv_core.errors import FcinvError
from fcinv_core.histogram import Axis, SQEHistogram
from fcinv_core.histogram.reduction import (
    algorithms,
    instrument_xml,
    mantid_version,
    proton_charges,
    reduced_energy_range,
)

NAME = "si_300K_five_orientations_HHL0_slice.nxs"


@pytest.fixture
def edited(mantid_file, tmp_path):
    """Loads real Mantid's file after a change to its HDF5 groups."""

    def edit(change):
        path = tmp_path / "edited.nxs"
        path.write_bytes(mantid_file(NAME).read_bytes())
        with h5py.File(path, "r+") as file:
            change(file["MDHistoWorkspace"])
        return SQEHistogram.load(path)

    return edit


def test_of_real_mantid(mantid_file):
    """80 meV, events from -10 to 76 meV, charges of 1, as the virtual experiment had them."""
    histogram = SQEHistogram.load(mantid_file(NAME))
    assert reduced_energy_range(histogram) == (-10.0, 76.0)
    np.testing.assert_array_equal(proton_charges(histogram), np.ones(5))
    assert instrument_xml(histogram).endswith("</instrument>\n")
    assert 'name="ARCSLIKE"' in instrument_xml(histogram)


def test_history_of_real_mantid(mantid_file, tmp_path):
    histogram = SQEHistogram.load(mantid_file(NAME))
    assert mantid_version(histogram) == "3.13.20190128"
    assert algorithms(histogram) == {"MergeMD", "MDNorm"}
    histogram.save(tmp_path / "saved.nxs")
    saved = SQEHistogram.load(tmp_path / "saved.nxs")
    assert (mantid_version(saved), algorithms(saved)) == ("3.13.20190128", {"MergeMD", "MDNorm"})


def test_history_in_parts(edited):
    def change(entry):
        del entry["process/MantidEnvironment/data"]
        entry["process/MantidEnvironment/data"] = "OS name: Linux\n"
        entry["process/MantidAlgorithm_1/data"][...] = b"Something else"
        entry["process"].create_group("MantidAlgorithm_9")

    histogram = edited(change)
    assert mantid_version(histogram) is None
    assert algorithms(histogram) == {"MDNorm"}


def test_history_that_is_not_there(edited):
    histogram = edited(lambda entry: entry.pop("process"))
    assert mantid_version(histogram) is None
    assert algorithms(histogram) == set()


def test_charges_of_the_runs_in_their_order(edited):
    def change(entry):
        for i, charge in enumerate((3.0, 1.0, 4.0)):
            entry[f"experiment{i}/logs/gd_prtn_chrg/value"][...] = charge
        del entry["experiment4/logs/gd_prtn_chrg"]

    np.testing.assert_array_equal(proton_charges(edited(change)), [3, 1, 4, 1, 1])


def test_range_from_bin_boundaries(edited):
    def change(entry):
        for i in range(5):
            del entry[f"experiment{i}/logs/MDNorm_low"]
            entry[f"experiment{i}/logs/processed_histogram_bins/value"][0] = -11.0

    assert reduced_energy_range(edited(change)) == (-11.0, 76.0)


def test_range_that_is_not_there(edited):
    def change(entry):
        for i in range(5):
            for log in ("MDNorm_low", "processed_histogram_bins"):
                del entry[f"experiment{i}/logs/{log}"]

    with pytest.raises(FcinvError, match=r"range of energy transfers .*edited.nxs; give it"):
        reduced_energy_range(edited(change))


def test_instrument_that_is_not_there(edited):
    def change(entry):
        for i in range(5):
            del entry[f"experiment{i}/instrument"]

    with pytest.raises(FcinvError, match=r"no instrument definition in .*edited.nxs"):
        instrument_xml(edited(change))


def test_histograms_made_in_python_have_none_of_it():
    axes = [Axis.along(direction, [0.0, 1.0]) for direction in np.eye(3)]
    axes.append(Axis.energy_transfer([0.0, 1.0]))
    made = SQEHistogram.from_arrays(axes, np.zeros((1, 1, 1, 1)))
    for read in (instrument_xml, reduced_energy_range):
        with pytest.raises(FcinvError, match="in histogram;"):
            read(made)
    np.testing.assert_array_equal(proton_charges(made), [1])
    assert mantid_version(made) is None
    assert algorithms(made) == set()
