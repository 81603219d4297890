// ---------------------------------------------------------------- drawing

const element = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const FONT = "system-ui, sans-serif";
const clamp = (v, low = 0, high = 1) => Math.min(Math.max(v, low), high);

/** Clear a canvas and make it as sharp as the screen: its context in CSS pixels, its width and its height. */
function begin(canvas) {
  const width = canvas.clientWidth,
    height = canvas.clientHeight,
    ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  return [c, width, height];
}

function line(c, points, stroke, width = 1.5, dash = []) {
  c.beginPath();
  points.forEach(([x, y]) => c.lineTo(x, y));
  c.strokeStyle = stroke;
  c.lineWidth = width;
  c.lineJoin = "round";
  c.setLineDash(dash);
  c.stroke();
  c.setLineDash([]);
}

/** The outline of a mark with radius r: each method has its own, so that colours are not needed. */
function outline(c, shape, x, y, r) {
  c.beginPath();
  if (shape === "circle") c.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") c.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  else {
    const corners =
      shape === "triangle"
        ? [
            [0, -1.2],
            [1.1, 0.8],
            [-1.1, 0.8],
          ]
        : [
            [0, -1.3],
            [1.3, 0],
            [0, 1.3],
            [-1.3, 0],
          ];
    corners.forEach(([a, b]) => c.lineTo(x + a * r, y + b * r));
    c.closePath();
  }
}

function mark(c, shape, x, y, r, fill, edge = color("halo")) {
  outline(c, shape, x, y, r);
  c.fillStyle = fill;
  c.fill();
  c.strokeStyle = edge;
  c.lineWidth = 1;
  c.stroke();
}

function text(c, words, x, y, fill, { size = 11, align = "left", weight = 400, baseline = "middle" } = {}) {
  c.font = `${weight} ${size}px ${FONT}`;
  c.textAlign = align;
  c.textBaseline = baseline;
  c.fillStyle = fill;
  c.fillText(words, x, y);
}

/** A colour between two of the form #rrggbb. */
function between(from, to, t) {
  const part = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  return [0, 1, 2].map((k) => Math.round(part(from, k) + t * (part(to, k) - part(from, k))));
}

const LEVELS = [0.02, 0.06, 0.12, 0.2, 0.3, 0.42, 0.56, 0.72, 0.88];

/** What is drawn of a landscape: an image of its ranks, and contour lines through ranks of `LEVELS`. */
function relief(values, side) {
  const sorted = Float64Array.from(values).sort();
  const rank = (v) => {
    let [low, high] = [0, sorted.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < v) low = middle + 1;
      else high = middle;
    }
    return low / (sorted.length - 1);
  };
  return {
    side,
    ranks: Float64Array.from(values, rank),
    contours: LEVELS.flatMap((level) => contour(values, side, sorted[Math.round(level * (sorted.length - 1))])),
  };
}

/** The pieces of a contour line, [x1, y1, x2, y2] in [0, 1]: marching squares. */
function contour(values, side, level) {
  const pieces = [];
  for (let j = 0; j + 1 < side; j++) {
    for (let i = 0; i + 1 < side; i++) {
      const corners = [
          [i, j],
          [i + 1, j],
          [i + 1, j + 1],
          [i, j + 1],
        ],
        cuts = [];
      corners.forEach(([a, b], k) => {
        const [p, q] = corners[(k + 1) % 4],
          u = values[b * side + a] - level,
          v = values[q * side + p] - level;
        if (u < 0 !== v < 0)
          cuts.push([(a + ((p - a) * u) / (u - v)) / (side - 1), (b + ((q - b) * u) / (u - v)) / (side - 1)]);
      });
      for (let k = 0; k + 1 < cuts.length; k += 2) pieces.push([...cuts[k], ...cuts[k + 1]]);
    }
  }
  return pieces;
}

/** Draw a relief, at a distance from the edge of the canvas. */
function drawRelief(c, width, height, inset, { side, ranks, contours }) {
  const image = new ImageData(side, side),
    low = color("low"),
    high = color("high");
  const shades = Array.from({ length: 256 }, (_, t) => [...between(low, high, Math.sqrt(t / 255)), 255]);
  ranks.forEach((t, i) => {
    const y = side - 1 - Math.floor(i / side),
      at = 4 * (y * side + (i % side));
    image.data.set(shades[Math.round(255 * t)], at);
  });
  const small = document.createElement("canvas");
  [small.width, small.height] = [side, side];
  small.getContext("2d").putImageData(image, 0, 0);
  c.imageSmoothingQuality = "high";
  c.save();
  c.translate(inset, inset);
  [width, height] = [width - 2 * inset, height - 2 * inset];
  c.drawImage(small, 0.5, 0.5, side - 1, side - 1, 0, 0, width, height);
  c.beginPath();
  for (const [a, b, p, q] of contours) {
    c.moveTo(a * width, (1 - b) * height);
    c.lineTo(p * width, (1 - q) * height);
  }
  c.strokeStyle = color("contour");
  c.lineWidth = 1;
  c.stroke();
  c.restore();
}

function cross(c, x, y) {
  const arms = [
    [
      [x - 7, y],
      [x + 7, y],
    ],
    [
      [x, y - 7],
      [x, y + 7],
    ],
  ];
  arms.forEach((arm) => line(c, arm, color("halo"), 5));
  arms.forEach((arm) => line(c, arm, color("text"), 2));
}

/** Curves over the number of steps, on a logarithmic scale between two powers of ten.

    series: {values, color, dash, width, shape, band}; values start at step `first`. A band is two rows of values. */
function drawCurves(canvas, { series, steps, first, low, high, label }) {
  const [c, width, height] = begin(canvas),
    left = 52,
    right = 12,
    top = 12,
    bottom = 26;
  const x = (t) => left + ((t - first) / (steps - first)) * (width - left - right);
  const y = (v) =>
    top + ((high - clamp(Math.log10(Math.max(v, 1e-300)), low, high)) / (high - low)) * (height - top - bottom);
  for (let power = low; power <= high; power++) {
    line(
      c,
      [
        [left, y(10 ** power)],
        [width - right, y(10 ** power)],
      ],
      color("line"),
      1,
    );
    text(c, label(power), left - 7, y(10 ** power), color("muted"), { align: "right" });
  }
  const every = steps > 40 ? 20 : 5;
  for (let t = first; t <= steps; t++) {
    if (t % every && t !== first) continue;
    text(c, String(t), x(t), height - bottom / 2 + 1, color("muted"), { align: "center" });
  }
  for (const { band, color: fill } of series) {
    if (!band) continue;
    c.beginPath();
    band[0].forEach((v, t) => c.lineTo(x(t + first), y(v)));
    [...band[1]].reverse().forEach((v, t) => c.lineTo(x(steps - t), y(v)));
    c.fillStyle = fill;
    c.globalAlpha = 0.14;
    c.fill();
    c.globalAlpha = 1;
  }
  for (const { values, color: stroke, dash, width: thick, shape } of series) {
    const points = values.map((v, t) => [x(t + first), y(v)]);
    line(c, points, stroke, thick ?? 2.5, dash ?? []);
    if (shape && points.length) mark(c, shape, ...points.at(-1), 5, stroke);
  }
}

/** Draw again when the size or the colours change. */
function redrawWith(draw, ...canvases) {
  const again = new ResizeObserver(draw);
  canvases.forEach((canvas) => again.observe(canvas));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

/** Fill a scrolling box with a table, if its details are open. */
function fillTable(details, head, rows) {
  if (!details.open) return;
  const table = document.createElement("table"),
    body = document.createElement("tbody"),
    top = table.createTHead().insertRow();
  head.forEach((word) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = word;
    top.append(cell);
  });
  rows.forEach((row) =>
    row.reduce((tr, value) => {
      tr.insertCell().textContent = value;
      return tr;
    }, body.insertRow()),
  );
  table.append(body);
  details.querySelector("div").replaceChildren(table);
}

/** An exponent in raised digits. */
const raised = (power) =>
  String(power).replace(
    /[-\d]/g,
    (d) => "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"["-0123456789".indexOf(d)],
  );

const number = (v) => (Number.isFinite(v) ? String(Number(v.toPrecision(3))).replace("-", "\u2212") : "gone");

/** Buttons that run, step and reset; `one()` does a step and says whether there are more. */
function player(prefix, one, reset, ended) {
  const run = element(`${prefix}-run`),
    step = element(`${prefix}-step`),
    speed = element(`${prefix}-speed`);
  let timer = null,
    over = false;
  const label = () => (run.textContent = timer ? "Pause" : over ? "Run again" : "Run");
  const pause = () => {
    clearTimeout(timer);
    timer = null;
    label();
  };
  const tick = () => {
    over = !one();
    step.disabled = over;
    if (over) {
      pause();
      ended();
    } else timer = setTimeout(tick, Number(speed.value));
  };
  const restart = () => {
    pause();
    over = step.disabled = false;
    reset();
    label();
  };
  const start = () => {
    if (timer) return;
    if (over) restart();
    timer = setTimeout(tick, 0);
    label();
  };
  run.addEventListener("click", () => (timer ? (pause(), ended()) : start()));
  step.addEventListener("click", () => {
    pause();
    over = !one();
    step.disabled = over;
    label();
    ended();
  });
  element(`${prefix}-reset`).addEventListener("click", () => {
    restart();
    ended();
  });
  return { start, pause, restart };
}

const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
