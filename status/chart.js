/**
 * Draws what happened in the last ten minutes: lines in a chart, or marks in a strip.
 *
 * @module
 */

/** How much of the past is shown. */
export const WINDOW_SECONDS = 600;

const HEIGHT = 150;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 66 };
const STRIP_HEIGHT = 14;

/**
 * Makes the chart that one row of the page's table describes. Large numbers and the text alternative
 * say the current values. `onPoint` is told which part of the window the pointer is at, from -1 to 0.
 */
export function createChart({ title, lines, format, tick = format, least, binary }, onPoint) {
  const values = lines.map(() => html("b"));
  const remark = html("p", { className: "note" });
  const svg = make("svg", { role: "img", class: "chart", height: HEIGHT });
  const element = html("section", {}, [
    html("h2", { textContent: title }),
    html(
      "p",
      { className: "values" },
      lines.map(({ name }, i) => {
        const key = lines.length > 1 ? [html("i", { className: `key line${i}` })] : [];
        return html("span", {}, [...key, values[i], ` ${name}`]);
      }),
    ),
    remark,
    svg,
  ]);

  const width = () => Math.max(1, svg.clientWidth - MARGIN.left - MARGIN.right);
  const point = ({ offsetX }) => {
    onPoint(Math.min(1, Math.max(0, (offsetX - MARGIN.left) / width())) - 1);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerleave", () => onPoint(0));

  /** Shows readings up to now, the latest of which is current unless it failed. */
  function draw(readings, now, moment) {
    const seen = lines.flatMap(({ key }) => readings.map((reading) => reading[key])).filter(known);
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
      : `${format(Math.min(...seen))} to ${format(Math.max(...seen))} in ten minutes`;
    remark.textContent = moment ? `then: ${said(moment).join(", ")}` : range;
    const spoken = lines.map(({ name }, i) => `${current[i]} ${name}`).join(", ");
    svg.setAttribute("aria-label", `${title}: ${spoken} now; ${range}`);

    const [left, right] = [x(now - WINDOW_SECONDS), x(now)];
    svg.replaceChildren(
      ...[0, top / 2, top].flatMap((value) => [
        make("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
        label(tick(value), left - 8, y(value) + 4, "end"),
      ]),
      label("10 min ago", left, HEIGHT - 4, "start"),
      label("5 min ago", (left + right) / 2, HEIGHT - 4, "middle"),
      label("now", right, HEIGHT - 4, "end"),
      ...lines.map(({ key }, i) => {
        return make("path", { class: `line line${i}`, d: path(readings, key, x, y) });
      }),
    );
    if (moment) {
      const at = x(moment.at);
      svg.append(make("line", { class: "moment", x1: at, x2: at, y1: y(top), y2: y(0) }));
    }
  }
  return { element, draw };
}

/** Makes a strip with a mark wherever something was counted. */
export function createStrip() {
  const element = make("svg", { class: "strip", height: STRIP_HEIGHT, "aria-hidden": "true" });
  const draw = (times, now) => {
    const marks = times.map((at) => {
      const x = element.clientWidth * (1 + (at - now) / WINDOW_SECONDS);
      return `M${(x - 1).toFixed(1)},0v${STRIP_HEIGHT}`;
    });
    element.replaceChildren(make("path", { class: "mark", d: marks.join("") }));
  };
  return { element, draw };
}

/** Makes an HTML element. */
export function html(name, properties = {}, children = []) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Tells whether there is a value to show. */
export function known(value) {
  return value !== undefined;
}

function make(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function label(content, x, y, anchor) {
  const element = make("text", { x, y, "text-anchor": anchor });
  element.textContent = content;
  return element;
}

/** One line through the values, interrupted where there are none. */
function path(readings, key, x, y) {
  let drawn = "";
  let open = false;
  for (const { at, [key]: value } of readings) {
    if (known(value)) {
      const point = `${x(at).toFixed(1)},${y(value).toFixed(1)}`;
      drawn += open ? `L${point}` : `M${point}h.1`; // So that a value between two gaps is a dot.
    }
    open = known(value);
  }
  return drawn;
}

/** The next value that an axis can end with so that it and its half are short. */
function roundUp(value, binary) {
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * unit).find((step) => value <= step) ?? value;
}
