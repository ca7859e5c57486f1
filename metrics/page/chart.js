/**
 * Draws the values of the last ten minutes as lines.
 *
 * @module
 */

import { WINDOW_SECONDS } from "./contents.js";
import { html, svg } from "./dom.js";

const HEIGHT = 150;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 66 };

/**
 * Makes the chart that one row of {@link CHARTS} describes. Large numbers and the text alternative
 * say the current values. `onPoint` is told which part of the window the pointer is at, from -1 to 0.
 */
export function createChart({ title, lines, format, tick = format, least, binary }, onPoint) {
  const values = lines.map(() => html("b"));
  const remark = html("p", { className: "note" });
  const image = svg("svg", { role: "img", class: "chart", height: HEIGHT });
  const element = html("section", {}, [
    html("h2", { textContent: title }),
    html(
      "p",
      { className: "values" },
      lines.map(({ name }, i) => {
        const key = lines.length > 1 ? [html("i", { className: `key line${i}` })] : [];
        return html("span", {}, [values[i], " ", html("small", {}, [...key, name])]);
      }),
    ),
    remark,
    image,
  ]);

  const width = () => Math.max(1, image.clientWidth - MARGIN.left - MARGIN.right);
  const point = ({ offsetX }) => {
    onPoint(Math.min(1, Math.max(0, (offsetX - MARGIN.left) / width())) - 1);
  };
  image.addEventListener("pointermove", point);
  image.addEventListener("pointerleave", () => onPoint(0));

  /** Shows readings, of which the last one is current, and the values at a moment of the past, if any. */
  function draw({ readings, now, span, moment }) {
    const all = lines.flatMap(({ key }) => readings.map((reading) => reading[key]));
    const seen = all.filter((value) => value !== undefined);
    const top = roundUp(Math.max(least, ...seen.filter(Number.isFinite)), binary);
    const x = (at) => MARGIN.left + width() * (1 + (at - now) / WINDOW_SECONDS);
    const y = (value) => {
      return MARGIN.top + (HEIGHT - MARGIN.top - MARGIN.bottom) * (1 - Math.min(value, top) / top);
    };
    const said = (reading) => lines.map(({ key }) => format(reading[key]));

    const current = said(readings.at(-1));
    current.forEach((value, i) => values[i].textContent = value);
    const range = seen.length === 0
      ? "nothing to show yet"
      : `${format(Math.min(...seen))} to ${format(Math.max(...seen))} ${span}`;
    remark.textContent = moment ? `at ${moment.time}: ${said(moment.reading).join(", ")}` : range;
    const spoken = lines.map(({ name }, i) => `${current[i]} ${name}`).join(", ");
    image.setAttribute("aria-label", `${title}: ${spoken} now; ${range}`);

    const [left, right] = [x(now - WINDOW_SECONDS), x(now)];
    image.replaceChildren(
      ...[0, top / 2, top].flatMap((value) => [
        svg("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
        label(tick(value), left - 8, y(value) + 4, "end"),
      ]),
      label("−10 min", left, HEIGHT - 4, "start"),
      label("−5 min", (left + right) / 2, HEIGHT - 4, "middle"),
      label("now", right, HEIGHT - 4, "end"),
      ...lines.map(({ key }, i) => {
        return svg("path", { class: `line line${i}`, d: path(readings, key, x, y) });
      }),
    );
    if (moment) {
      const at = x(moment.reading.at);
      image.append(svg("line", { class: "moment", x1: at, x2: at, y1: y(top), y2: y(0) }));
    }
  }
  return { element, draw };
}

function label(content, x, y, anchor) {
  const element = svg("text", { x, y, "text-anchor": anchor });
  element.textContent = content;
  return element;
}

/** Draws one line through the values, with gaps where values are missing. */
function path(readings, key, x, y) {
  let drawn = "";
  let open = false;
  for (const { at, [key]: value } of readings) {
    if (value !== undefined) {
      const point = `${x(at).toFixed(1)},${y(value).toFixed(1)}`;
      drawn += open ? `L${point}` : `M${point}h.1`; // A value between two gaps becomes a dot.
    }
    open = value !== undefined;
  }
  return drawn;
}

/** Finds the next larger value for the end of an axis that is short to write, and so is its half. */
function roundUp(value, binary) {
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * unit).find((step) => value <= step) ?? value;
}
