/**
 * @file The slider over the years, for both sides where they show the same year, else for the right one.
 */

import { say } from "./words.js";

/**
 * @param {import("./config.js").Config} config
 * @param {{left: import("./sides.js").Side, right: import("./sides.js").Side}} sides
 * @param {() => void} changed  called after the slider has moved
 * @returns {() => void} shows what the sides show
 */
export function setUpYears(config, sides, changed) {
  const slider = document.getElementById("years");
  const marks = document.getElementById("year-marks");
  const { years } = config;
  if (years.length < 2) return () => {};
  document.getElementById("time").hidden = false;
  slider.max = years.length - 1;
  years.forEach((map, index) => {
    const mark = document.createElement("button");
    mark.type = "button";
    mark.textContent = map.year;
    mark.tabIndex = -1; // the slider itself is for the keyboard
    mark.setAttribute("aria-hidden", "true");
    mark.addEventListener("click", () => move(index));
    marks.append(mark);
  });
  const move = (index) => {
    const isCommon = sides.left.config === sides.right.config;
    for (const side of isCommon ? [sides.left, sides.right] : [sides.right]) {
      const { layers } = years[index];
      side.show(years[index], layers.includes(side.layer) ? side.layer : layers[0]);
    }
    changed();
  };
  slider.addEventListener("input", () => move(Number(slider.value)));
  return () => {
    const index = years.indexOf(sides.right.config);
    const isCommon = sides.left.config === sides.right.config;
    slider.value = Math.max(index, 0);
    const year = years[index]?.year ?? "";
    slider.setAttribute("aria-valuetext", say(isCommon ? "year_both" : "year_right", { year }));
    [...marks.children].forEach((mark, place) => mark.classList.toggle("chosen", place === index));
  };
}
