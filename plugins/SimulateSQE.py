"""SimulateSQE: what given force constants would look like on the bins of a workspace."""

import numpy as np
from mantid.api import (
    AlgorithmFactory,
    FileAction,
    FileProperty,
    IMDHistoWorkspaceProperty,
    PropertyMode,
    PythonAlgorithm,
)
from mantid.kernel import (
    Direction,
    EnabledWhenProperty,
    FloatArrayLengthValidator,
    FloatArrayProperty,
    FloatBoundedValidator,
    IntArrayProperty,
    PropertyCriterion,
    VisibleWhenProperty,
)

from fcinv_core import mantid_bridge as bridge
from fcinv_core import mantid_properties as properties

Q_DIMENSIONS = ("QDimension0", "QDimension1", "QDimension2")
ENERGY = "DeltaE"
N_DIMENSIONS = 4


def bin_edges(binning):
    """Edges of bins from minimum, step, maximum; or from the limits of a single bin.

    Raises
    ------
    ValueError
        Other numbers.
    """
    numbers = [float(number) for number in binning]
    if len(numbers) not in (2, 3):
        raise ValueError("Give minimum, step, maximum, or the limits of one bin")
    low, high = numbers[0], numbers[-1]
    step = numbers[1] if len(numbers) == 3 else high - low
    if not (step > 0 and high > low):
        raise ValueError("Give a maximum above the minimum, and a positive step")
    return low + step * np.arange(max(round((high - low) / step), 1) + 1)


class SimulateSQE(PythonAlgorithm):
    """Coherent scattering by one phonon, averaged over bins, with the energy resolution."""

    def category(self):
        return "Inelastic\\Phonons"

    def summary(self):
        return (
            "Simulates the single-crystal S(Q,E) of force constants on the bins of an "
            "MDHistoWorkspace, or on bins named as in MDNorm."
        )

    def seeAlso(self):
        return ["InvertForceConstants", "MDNorm", "CloneMDWorkspace"]

    def helpURL(self):
        return bridge.help_page("SimulateSQE")

    def PyInit(self):
        self.declareProperty(
            IMDHistoWorkspaceProperty(
                "InputWorkspace", "", Direction.Input, optional=PropertyMode.Optional
            ),
            "Measured MDHistoWorkspace whose bins, lattice and sample logs are taken. Left empty, "
            "the bins below are used, and the lattice of the force constants.",
        )
        self.declareProperty(
            FileProperty("ForceConstants", "", FileAction.Load, [".yaml", ".hdf5"]),
            "phonopy.yaml with force constants; or FORCE_CONSTANTS or force_constants.hdf5, which "
            "need a Structure.",
        )
        self.declareProperty(
            FileProperty("Structure", "", FileAction.OptionalLoad, [".cif", ".vasp"]),
            "CIF or POSCAR of force constants in a file that holds no structure.",
        )
        self.declareProperty(
            IntArrayProperty("SupercellMatrix", [], direction=Direction.Input),
            "Supercell of force constants in a file that holds no structure: 3 multiples, or 9 "
            "numbers row by row.",
        )
        bridge.declare_measurement(self)
        self.declareProperty(
            "ApplyCoverage",
            True,
            doc="NaN where InputWorkspace was not measured; otherwise all of its bins are "
            "simulated.",
        )
        self.declareProperty(
            "Scale",
            1.0,
            validator=FloatBoundedValidator(lower=0.0),
            doc="Factor on the simulated signal, which is in mbarn/meV per primitive cell.",
        )
        self.declareProperty(
            "Background", 0.0, doc="Added to the scaled signal, in the units of the output."
        )
        self._declare_bins()
        self.declareProperty(
            IMDHistoWorkspaceProperty("OutputWorkspace", "", Direction.Output),
            "The simulated MDHistoWorkspace; its errors are zero.",
        )
        for name in self._bin_properties():
            self.setPropertySettings(
                name, VisibleWhenProperty("InputWorkspace", PropertyCriterion.IsDefault)
            )
            self.setPropertyGroup(name, "Bins without InputWorkspace")
        self.setPropertySettings(
            "ApplyCoverage", EnabledWhenProperty("InputWorkspace", PropertyCriterion.IsNotDefault)
        )
        self.setPropertySettings(
            "SupercellMatrix", EnabledWhenProperty("Structure", PropertyCriterion.IsNotDefault)
        )

    def _declare_bins(self):
        for number, name in enumerate(Q_DIMENSIONS):
            direction = [0.0, 0.0, 0.0]
            direction[number] = 1.0
            self.declareProperty(
                FloatArrayProperty(name, direction, FloatArrayLengthValidator(3)),
                f"Direction of momentum axis {number} in H, K, L of the force constants' cell.",
            )
        for number, name in enumerate((*Q_DIMENSIONS, ENERGY)):
            self.declareProperty(
                f"Dimension{number}Name",
                name,
                doc=f"What dimension {number} of the output is: {', '.join(Q_DIMENSIONS)} or "
                f"{ENERGY}.",
            )
            self.declareProperty(
                FloatArrayProperty(f"Dimension{number}Binning", []),
                f"Bins of dimension {number} as minimum, step, maximum, or the limits of one bin: "
                "in r.l.u. along its direction, or in meV.",
            )

    @staticmethod
    def _bin_properties():
        of_dimensions = [
            f"Dimension{number}{what}"
            for number in range(N_DIMENSIONS)
            for what in ("Name", "Binning")
        ]
        return [*Q_DIMENSIONS, *of_dimensions]

    def validateInputs(self):
        issues = properties.issues_of_supercell(self)
        issues.update(properties.issues_of_files(self, ["Structure"]))
        template = self.getProperty("InputWorkspace").value
        if template is None:
            issues.update(self._issues_of_bins())
        elif (problem := bridge.problem_of(template)) is not None:
            issues["InputWorkspace"] = problem
        if "InputWorkspace" not in issues:
            templates = [] if template is None else [template]
            issues.update(properties.issues_of_measurement(self, templates))
        return issues

    def _issues_of_bins(self):
        names = [self.getProperty(f"Dimension{i}Name").value for i in range(N_DIMENSIONS)]
        issues = {}
        if sorted(names) != sorted((*Q_DIMENSIONS, ENERGY)):
            issues["Dimension0Name"] = (
                f"Without InputWorkspace each of {', '.join(Q_DIMENSIONS)} and {ENERGY} is needed "
                "once"
            )
        for number in range(N_DIMENSIONS):
            name = f"Dimension{number}Binning"
            try:
                bin_edges(self.getProperty(name).value)
            except ValueError as error:
                issues[name] = str(error)
        return issues

    @bridge.one_line_errors
    def PyExec(self):
        template = self.getProperty("InputWorkspace").value
        like = None
        if template is not None:
            like = bridge.histogram_from_workspace(template)
        simulated = bridge.run(self, self._work(like))
        workspace = (
            bridge.new_workspace(simulated)
            if template is None
            else bridge.workspace_like(template, simulated)
        )
        self.setProperty("OutputWorkspace", workspace)

    def _work(self, like):
        """The work that does not touch Mantid."""
        path = self.getProperty("ForceConstants").value
        structure = self.getProperty("Structure").value
        supercell = properties.supercell_of(self)
        measurement = properties.measurement_of(self)
        apply_coverage = self.getProperty("ApplyCoverage").value
        scale = self.getProperty("Scale").value
        background = self.getProperty("Background").value
        axes = None if like is not None else self._axes()

        def work(report):
            from fcinv_core.crystal import Crystal, ForceConstants
            from fcinv_core.crystal.supercell_size import with_checked_supercell
            from fcinv_core.histogram import SQEHistogram
            from fcinv_core.scattering import simulate_histogram

            report("Reading force constants", 0.0)
            crystal = None
            if structure:
                crystal = Crystal.from_file(structure)
                if supercell is not None:
                    crystal = with_checked_supercell(crystal, supercell)
            force_constants = ForceConstants.from_file(path, crystal)
            bins = like
            if bins is None:
                ub = np.linalg.inv(force_constants.crystal.lattice)
                values = np.zeros([axis.n_bins for axis in axes])
                bins = SQEHistogram.from_arrays(
                    axes, values, ub=ub, temperature=measurement["temperature"]
                )
            elif not apply_coverage:
                bins = bins.with_values(np.zeros(bins.shape))
            simulated = simulate_histogram(
                force_constants,
                bins,
                **measurement,
                progress=lambda text, fraction: report(text, 0.1 + 0.9 * fraction),
            )
            return simulated.with_values(scale * simulated.signal + background, simulated.variance)

        return work

    def _axes(self):
        from fcinv_core.histogram.axes import Axis

        axes = []
        for number in range(N_DIMENSIONS):
            name = self.getProperty(f"Dimension{number}Name").value
            edges = bin_edges(self.getProperty(f"Dimension{number}Binning").value)
            if name == ENERGY:
                axes.append(Axis.energy_transfer(edges))
            else:
                axes.append(Axis.along(self.getProperty(name).value, edges))
        return axes


AlgorithmFactory.subscribe(SimulateSQE)
