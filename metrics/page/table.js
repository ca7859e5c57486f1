/**
 * Shows counts by reason: the last time, the recent number and the total.
 *
 * @module
 */

import { count, WINDOW_SECONDS } from "./contents.js";
import { html, svg } from "./dom.js";
import { byReason } from "./numbers.js";

const STRIP_HEIGHT = 14;

/** Makes the table that one row of {@link TABLES} describes, with a row for each reason. */
export function createTable({ title, key, metric, meanings }) {
  const span = header();
  const body = html("tbody");
  const rows = new Map();
  const element = html("section", {}, [
    html("table", {}, [
      html("caption", { textContent: title }),
      html("thead", {}, [
        html("tr", {}, [header("reason"), header("when"), span, header("since start")]),
      ]),
      body,
    ]),
  ]);

  function draw(view) {
    span.textContent = view.span;
    for (const [reason, total] of byReason(view.metrics, metric)) {
      if (!rows.has(reason)) {
        const row = createRow(reason, meanings[reason] ?? "");
        body.append(row.element);
        rows.set(reason, row);
      }
      const counts = view.readings.map((reading) => [reading.at, reading[key]?.get(reason) ?? 0]);
      rows.get(reason).draw(counts, view.lost ? undefined : total, view.now);
    }
  }
  return { element, draw };
}

function createRow(reason, meaning) {
  const strip = svg("svg", { class: "strip", height: STRIP_HEIGHT, "aria-hidden": "true" });
  const recent = html("td");
  const all = html("td");
  const name = html("code", { textContent: reason });
  const element = html("tr", {}, [
    html("th", { scope: "row" }, [name, ` ${meaning}`]),
    html("td", {}, [strip]),
    recent,
    all,
  ]);

  function draw(counts, total, now) {
    const marks = counts.filter(([, more]) => more > 0).map(([at]) => {
      const x = strip.clientWidth * (1 + (at - now) / WINDOW_SECONDS);
      return `M${(x - 1).toFixed(1)},0v${STRIP_HEIGHT}`;
    });
    strip.replaceChildren(svg("path", { class: "mark", d: marks.join("") }));
    recent.textContent = count(counts.reduce((sum, [, more]) => sum + more, 0));
    recent.className = marks.length > 0 ? "some" : "";
    all.textContent = count(total);
  }
  return { element, draw };
}

function header(textContent = "") {
  return html("th", { scope: "col", textContent });
}
