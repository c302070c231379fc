"use strict";
// Three curves of the last hour, drawn as SVG. A sample is
// [seconds since 1970, sessions since the sample before, messages since then, length of the queue].

const CURVES = [
  {column: 1, title: "sessions, par 10 s"},
  {column: 2, title: "messages reçus, par 10 s"},
  {column: 3, title: "longueur de la file"},
];
const HOUR = 3600, LEAST = 300, WIDTH = 360, HEIGHT = 60, SVG = "http://www.w3.org/2000/svg";

// The axis covers what there is, an hour at most.
function drawCurves(place, samples, seconds) {
  const age = samples.length ? samples[samples.length - 1][0] - samples[0][0] + seconds : 0;
  const span = Math.min(HOUR, Math.max(LEAST, age));
  place.replaceChildren(...CURVES.map((curve) => drawCurve(curve, samples, span, seconds)));
}

function drawCurve({column, title}, samples, span, seconds) {
  const values = samples.map((sample) => sample[column]);
  const most = Math.max(0, ...values), now = values.length ? values[values.length - 1] : 0;
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  const name = document.createElement("span"), value = document.createElement("strong");
  name.textContent = title;
  value.textContent = `${now} (au plus ${most})`;
  caption.append(name, value);
  const points = samples.map((sample) => [sample[0], sample[column] / Math.max(1, most)]);
  figure.append(caption, curveSvg(points, span, seconds, `${title} : ${value.textContent}`), axis(span));
  return figure;
}

// points: [seconds, height from 0 to 1], each of which stands for the `seconds` before it.
function curveSvg(points, span, seconds, label) {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const end = points.length ? points[points.length - 1][0] : 0, ground = HEIGHT - 3;
  const x = (time) => (WIDTH * (1 - (end - time) / span)).toFixed(1);
  const y = (height) => (ground - (ground - 5) * height).toFixed(1);
  const line = points.map(([time, height]) => `H${x(time - seconds)}V${y(height)}H${x(time)}`);
  path.setAttribute("d", points.length ? `M${x(points[0][0] - seconds)} ${ground}${line.join("")}V${ground}` : "");
  svg.append(path);
  return svg;
}

function axis(span) {
  const made = document.createElement("small");
  for (const text of [span === HOUR ? "il y a une heure" : `il y a ${Math.round(span / 60)} minutes`, "maintenant"]) {
    const end = document.createElement("span");
    end.textContent = text;
    made.append(end);
  }
  return made;
}
