// The bins of each workspace: how they are unpacked, and what they are on a plane.

const Bins = (() => {
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  async function inflated(base64) {
    const stream = new Blob([bytesOf(base64)]).stream();
    const unpacked = stream.pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(unpacked).arrayBuffer());
  }

  /** Arrays of all bins from their codes; see `Volume.packed` in fcinv_core/report/volume.py. */
  async function unpack(data) {
    const bytes = await inflated(data.packed);
    const size = data.axes.reduce((n, axis) => n * (axis.edges.length - 1), 1);
    const start = Math.ceil(size / 8);
    const arrays = {};
    for (const name of ["measured", "simulated", "exposure", "residual"]) {
      arrays[name] = new Float32Array(size).fill(NaN);
    }
    const count = (bytes.length - start) / 6;
    const part = (number) => bytes.subarray(start + number * count, start + (number + 1) * count);
    const parts = [0, 1, 2, 3, 4, 5].map(part);
    const intensity = (code) => {
      if (code === data.missing) return NaN;
      const root = data.roots[0] + code * data.roots[1];
      return root * Math.abs(root);
    };
    for (let bin = 0, k = 0; bin < size; bin++) {
      if (!(bytes[bin >> 3] & (128 >> (bin & 7)))) continue;
      arrays.measured[bin] = intensity(256 * parts[0][k] + parts[1][k]);
      arrays.simulated[bin] = intensity(256 * parts[2][k] + parts[3][k]);
      const exposure = parts[4][k], residual = parts[5][k];
      arrays.exposure[bin] = exposure
        ? data.exposure_scale[0] * Math.exp(data.exposure_scale[1] * (exposure - 1)) : 0;
      if (residual) arrays.residual[bin] = (residual - 128) * data.residual_step;
      k++;
    }
    return arrays;
  }

  /** Measured, simulated, σ and residual on a plane: the arithmetic of `Averages.over`. */
  function planeOf(data, arrays, shown, places) {
    const sizes = data.axes.map((axis) => axis.edges.length - 1);
    const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
    const others = sizes.map((_, i) => i).filter((i) => !shown.includes(i));
    let offsets = [0];
    for (const i of others) {
      const steps = places[i] === null ? [...Array(sizes[i]).keys()] : [places[i]];
      offsets = offsets.flatMap((offset) => steps.map((step) => offset + step * strides[i]));
    }
    const single = offsets.length === 1;
    const [nx, ny] = shown.map((i) => sizes[i]);
    const plane = {};
    for (const name of ["measured", "simulated", "sigma", "residual"]) {
      plane[name] = new Float32Array(nx * ny).fill(NaN);
    }
    for (let x = 0; x < nx; x++) {
      for (let y = 0; y < ny; y++) {
        let exposure = 0, counts = 0, model = 0, pulls = 0, expected = 0, variance = 0;
        for (const offset of offsets) {
          const bin = offset + x * strides[shown[0]] + y * strides[shown[1]];
          const measured = arrays.measured[bin];
          if (Number.isNaN(measured)) continue;
          const known = arrays.exposure[bin], weight = single ? 1 : known;
          exposure += weight;
          counts += weight * measured;
          model += weight * arrays.simulated[bin];
          if (known) variance += (weight * weight * Math.max(measured, 0)) / known;
          const residual = arrays.residual[bin];
          if (!Number.isNaN(residual)) {
            const mean = Math.max(weight * arrays.simulated[bin], 1e-9);
            pulls += residual * Math.sqrt(mean);
            expected += mean;
          }
        }
        if (!exposure) continue;
        const at = x * ny + y;
        plane.measured[at] = counts / exposure;
        plane.simulated[at] = model / exposure;
        plane.sigma[at] = data.has_counts ? Math.sqrt(variance) / exposure : NaN;
        if (expected) plane.residual[at] = pulls / Math.sqrt(expected);
      }
    }
    return plane;
  }

  return { bytesOf, unpack, planeOf };
})();
