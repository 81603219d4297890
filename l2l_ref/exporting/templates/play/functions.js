// ---------------------------------------------------------------- random numbers, functions and surfaces

/** Uniform numbers in [0, 1) from a seed: the generator mulberry32. */
function generator(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A draw of a Gaussian process, like those that the network was trained on, by random Fourier features. */
function gaussianProcess(dim, seed) {
  const uniform = generator(1000003 * dim + seed),
    features = 200,
    lengthScale = 0.2 * Math.sqrt(dim);
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const w = Float64Array.from({ length: features * dim }, () => normal() / lengthScale);
  const phases = Float64Array.from({ length: features }, () => 2 * Math.PI * uniform());
  return (x) => {
    let sum = 0;
    for (let k = 0, at = 0; k < features; k++) {
      let angle = phases[k];
      for (let j = 0; j < dim; j++) angle += w[at++] * x[j];
      sum += Math.cos(angle);
    }
    return Math.sqrt(2 / features) * sum;
  };
}

/** A smooth curve through heights at equal distances in [0, 1]: the cubic of Catmull and Rom. */
function throughKnots(heights) {
  const last = heights.length - 1,
    at = (k) => heights[Math.min(Math.max(k, 0), last)];
  return ([x]) => {
    const k = Math.min(Math.floor(x * last), last - 1),
      s = x * last - k;
    const [a, b, c, d] = [at(k - 1), at(k), at(k + 1), at(k + 2)];
    return b + 0.5 * s * (c - a + s * (2 * a - 5 * b + 4 * c - d + s * (3 * (b - c) + d - a)));
  };
}

/** A plain with pits at the given points. */
const withPits =
  (pits) =>
  ([x, y]) =>
    pits.reduce((sum, p) => sum - Math.exp(-((x - p.x) ** 2 + (y - p.y) ** 2) / 0.05), 0.4 * x + 0.2 * y);

const drawn = Array.from({ length: 41 }, (_, k) => {
  const x = k / 40;
  return (
    0.7 - 0.3 * Math.exp(-((x - 0.2) ** 2) / 0.02) - 0.5 * Math.exp(-((x - 0.7) ** 2) / 0.025) + 0.1 * Math.sin(9 * x)
  );
});
const dug = [
  { x: 0.3, y: 0.7 },
  { x: 0.33, y: 0.62 },
  { x: 0.75, y: 0.35 },
];

/** On [0, 1]^dim: a function that is usually given on the box between two corners. */
const on = (low, high, f) => (u) => f(...u.map((v, k) => low[k] + v * (high[k] - low[k])));

/** Functions of [0, 1]^dim; make(seed) gives one. */
const FUNCTIONS = {
  "gp-1": {
    dim: 1,
    name: "a random curve",
    about: "Drawn like the functions of the training; each seed gives another. The cross is the minimum.",
    make: (seed) => gaussianProcess(1, seed),
  },
  forrester: {
    dim: 1,
    name: "Forrester",
    about: "A case where the network loses: it settles in the wide minimum, which is not the lowest.",
    make:
      () =>
      ([x]) =>
        (6 * x - 2) ** 2 * Math.sin(12 * x - 4),
  },
  waves: {
    dim: 1,
    name: "Gramacy and Lee",
    about:
      "Many minima, and much narrower ones than in training: on average the network is no better here than " +
      "random search.",
    make: () => on([0.5], [2.5], (x) => Math.sin(10 * Math.PI * x) / (2 * x) + (x - 1) ** 4),
  },
  draw: {
    dim: 1,
    name: "draw your own",
    edit: true,
    about:
      "Draw into a plot with a finger or the mouse. By keyboard: select a plot, choose a place with the left and " +
      "right arrow, and move the curve there with up and down.",
    make: () => throughKnots(drawn),
  },
  "gp-2": {
    dim: 2,
    name: "a random landscape",
    about:
      "Drawn like the functions of the training; each seed gives another. The deeper the colour, the lower the " +
      "ground; the cross is the minimum.",
    make: (seed) => gaussianProcess(2, seed),
  },
  branin: {
    dim: 2,
    name: "Branin",
    about: "Three minima of equal depth; one of them is marked. The network has not seen it in training.",
    make: () =>
      on(
        [-5, 0],
        [10, 15],
        (a, b) =>
          (b - (5.1 / (4 * Math.PI ** 2)) * a * a + (5 / Math.PI) * a - 6) ** 2 +
          10 * (1 - 1 / (8 * Math.PI)) * Math.cos(a) +
          10,
      ),
  },
  camel: {
    dim: 2,
    name: "six-hump camel",
    about: "Six minima; the two lowest are equal, and one of them is marked.",
    make: () =>
      on([-2, -1], [2, 1], (a, b) => (4 - 2.1 * a * a + a ** 4 / 3) * a * a + a * b + (4 * b * b - 4) * b * b),
  },
  himmelblau: {
    dim: 2,
    name: "Himmelblau",
    about: "Four minima of equal depth; one of them is marked.",
    make: () => on([-5, -5], [5, 5], (a, b) => (a * a + b - 11) ** 2 + (a + b * b - 7) ** 2),
  },
  rastrigin: {
    dim: 2,
    name: "Rastrigin",
    about:
      "A case where the network is behind: twenty-five minima on a grid, nothing like the functions of its " +
      "training.",
    make: () =>
      on(
        [-2.3, -2.2],
        [2.7, 2.8],
        (a, b) => 20 + a * a + b * b - 10 * (Math.cos(2 * Math.PI * a) + Math.cos(2 * Math.PI * b)),
      ),
  },
  dig: {
    dim: 2,
    name: "dig your own",
    edit: true,
    about:
      "Click or tap a map to dig a pit; again for a deeper one. By keyboard: select a map, move with the arrow " +
      "keys, dig with Enter.",
    make: () => withPits(dug),
  },
};

/** f at points of a grid: {values, x, low, high}, where x is the lowest point, made more exact by smaller steps. */
function survey(f, dim, side = dim === 1 ? 401 : 81) {
  const values = new Float64Array(side ** dim);
  let low = Infinity,
    high = -Infinity,
    x = null;
  for (let i = 0; i < values.length; i++) {
    const point = (dim === 1 ? [i] : [i % side, Math.floor(i / side)]).map((k) => k / (side - 1));
    values[i] = f(point);
    high = Math.max(high, values[i]);
    if (values[i] < low) [low, x] = [values[i], point];
  }
  for (let step = 0.5 / side; step > 1e-9;) {
    const near = x.flatMap((_, k) =>
      [step, -step].map((d) => x.map((v, j) => (j === k ? Math.min(Math.max(v + d, 0), 1) : v))),
    );
    const better = near.find((point) => f(point) < low);
    if (better) [low, x] = [f(better), better];
    else step /= 2;
  }
  return { values, side, x, low, high };
}

const bowl = (a, b) => (a - 0.3) ** 2 + (b + 0.2) ** 2 + 0.6 * (a - 0.3) * (b + 0.2);

/** Surfaces on [-2, 2]^2, for the second panel. */
const SURFACES = {
  bowl: {
    name: "a bowl",
    about: "A quadratic function: what the LSTM was trained on, but with ten variables instead of two.",
    f: bowl,
    start: [-1.6, 1.5],
  },
  valley: {
    name: "a narrow valley",
    about:
      "A quadratic function again, curved 27 times as much across as along: momentum and Adam swing from side to " +
      "side.",
    f: (a, b) => 2 * (a + b - 0.3) ** 2 + 0.075 * (a - b - 0.7) ** 2,
    start: [-1.7, 0.4],
  },
  rosenbrock: {
    name: "a curved valley",
    about: "A milder form of Rosenbrock's function. It is not quadratic, so the LSTM is on foreign ground.",
    f: (a, b) => 0.2 * (1 - a) ** 2 + 2 * (b - a * a) ** 2,
    start: [-1.4, 0.3],
  },
  saddle: {
    name: "two valleys and a saddle",
    about:
      "A quartic function. Which of its two minima an optimizer reaches depends on the start, and the left one is" +
      " lower.",
    f: (a, b) => 0.25 * a ** 4 - 0.5 * a * a + 0.5 * b * b + 0.05 * a,
    start: [0.25, 1.7],
  },
  flat: {
    name: "a bowl, a thousand times as flat",
    about:
      "A case where the learned optimizer fails. The shape is that of the bowl, but the LSTM takes the size of a " +
      "gradient as it is, and has never seen such small ones. Switch general on: it was built not to depend on " +
      "the scale.",
    f: (a, b) => 0.001 * bowl(a, b),
    start: [-1.6, 1.5],
  },
};

/** The gradient by central differences, exact to ten digits here. */
function slope(f, [a, b]) {
  const h = 1e-5;
  return [(f(a + h, b) - f(a - h, b)) / (2 * h), (f(a, b + h) - f(a, b - h)) / (2 * h)];
}
