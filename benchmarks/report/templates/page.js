"use strict";
// The page is complete without this script, which sorts and filters tables and moves thresholds.
for (const part of document.querySelectorAll(".scripted")) part.hidden = false;

// --- Tables ---
const number = (cell) => {
  const found = (cell.querySelector("b") || cell).textContent.replace("−", "-").match(/-?[\d.]+/);
  return found ? parseFloat(found[0]) : NaN;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const body = table.tBodies[0];
  const original = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      for (const other of heads) other.removeAttribute("aria-sort");
      const words = original.every((row) => row.cells[column].tagName === "TH");
      const order = words ? ["ascending", "descending"] : ["descending", "ascending"];
      const next = was === null ? order[0] : was === order[0] ? order[1] : null; // the third time as it was
      if (next === null) return body.append(...original);
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const value = (row) => (words ? row.cells[column].textContent : number(row.cells[column]));
      body.append(...[...original].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (words) return sign * x.localeCompare(y);
        return (isNaN(x) - isNaN(y)) || sign * (x - y);
      }));
    });
  });
}
const filter = document.getElementById("filter");
if (filter) {
  const said = document.getElementById("filtered");
  filter.addEventListener("input", () => {
    const asked = filter.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    for (const table of document.querySelectorAll("table.filtered")) {
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const name = row.querySelector("th").textContent.toLowerCase();
        row.hidden = asked.length > 0 && !asked.some((word) => name.includes(word));
        shown += !row.hidden;
      }
      said.textContent = asked.length ? `${shown} of ${table.tBodies[0].rows.length} detectors` : "";
    }
  });
}

// --- Thresholds ---
const stored = document.getElementById("dials");
if (stored) {
  const dials = JSON.parse(stored.textContent);
  const at = (id) => document.getElementById(id);
  const [who, where, slider, rare] = ["dial-detector", "dial-test", "dial-threshold", "dial-prevalence"].map(at);
  const percent = (value) => (isNaN(value) ? "–" : `${(100 * value).toFixed(value > 0 && value < 0.1 ? 2 : 1)} %`);
  const count = (value) => value.toLocaleString("en-US");
  const option = (text) => Object.assign(document.createElement("option"), { textContent: text, value: text });
  who.append(...[...new Set(dials.map((one) => one.detector))].map(option));
  const tests = () => dials.filter((one) => one.detector === who.value);
  const chosen = () => tests().find((one) => one.test === where.value);
  const place = (one, i) => `${(14 + 180 * one.fp[i] / one.real).toFixed(1)} ${(194 - 180 * one.tp[i] / one.forged).toFixed(1)}`;
  const show = () => {
    const one = chosen(), i = Number(slider.value);
    const fp = one.fp[i], tp = one.tp[i], fpr = fp / one.real, tpr = tp / one.forged;
    const p = Math.min(Math.max(Number(rare.value) || 0, 0), 100) / 100;
    const precision = tpr * p / (tpr * p + fpr * (1 - p));
    const values = {
      tp: count(tp), fn: count(one.forged - tp), fp: count(fp), tn: count(one.real - fp), tpr: percent(tpr), fpr: percent(fpr),
      balanced: percent((tpr + 1 - fpr) / 2), precision: percent(precision),
      threshold: one.thresholds[i].toLocaleString("en-US", { maximumSignificantDigits: 4 }) + (i === one.start ? " (fixed on validation data)" : ""),
      sentence: isNaN(precision) ? "No image is called forged at this threshold." :
        `At a prevalence of ${+(100 * p).toFixed(3)} %, about ${(100 * precision).toFixed(precision < 0.1 ? 1 : 0)} of 100 images called forged are forged.`,
    };
    for (const [name, text] of Object.entries(values)) at(`dial-${name}-value`).textContent = text;
    slider.setAttribute("aria-valuetext", `threshold ${values.threshold}: TPR ${values.tpr}, FPR ${values.fpr}`);
    const [x, y] = place(one, i).split(" ");
    at("dial-dot").setAttribute("cx", x);
    at("dial-dot").setAttribute("cy", y);
  };
  const open = () => {
    const one = chosen();
    slider.max = one.thresholds.length - 1;
    slider.value = one.start;
    at("dial-auc-value").textContent = one.auc;
    at("dial-curve").setAttribute("d", "M" + one.fp.map((_, i) => place(one, i)).join("L"));
    show();
  };
  const choose = () => {
    const before = where.value;
    where.replaceChildren(...tests().map((one) => option(one.test)));
    if (tests().some((one) => one.test === before)) where.value = before;
    open();
  };
  who.addEventListener("change", choose);
  where.addEventListener("change", open);
  slider.addEventListener("input", show);
  rare.addEventListener("input", show);
  at("dial-reset").addEventListener("click", open);
  slider.form.addEventListener("submit", (event) => event.preventDefault());
  choose();
}
