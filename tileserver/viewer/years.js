/**
 * @file The slider over the years, for both sides where they show the same year, else for the right one.
 */

import { say } from "./words.js";

/** How long each year stays at least while they are played; it stays until its photograph is whole, within bounds. */
const YEAR_MS = 1500;
const LONGEST_YEAR_MS = 8000;

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
    mark.addEventListener("click", () => {
      play.stop();
      move(index);
    });
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
  const play = setUpPlay(years, sides, move);
  slider.addEventListener("input", () => {
    play.stop();
    move(Number(slider.value));
  });
  return () => {
    const index = years.indexOf(sides.right.config);
    const isCommon = sides.left.config === sides.right.config;
    slider.value = Math.max(index, 0);
    const year = years[index]?.year ?? "";
    slider.setAttribute("aria-valuetext", say(isCommon ? "year_both" : "year_right", { year }));
    [...marks.children].forEach((mark, place) => mark.classList.toggle("chosen", place === index));
  };
}

/** The button that shows one year after the other, once, from the year that is shown or from the first after the last. */
function setUpPlay(years, sides, move) {
  const button = document.getElementById("play");
  let timer = 0;
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    show();
  };
  const show = () => {
    button.dataset.playing = String(timer !== 0);
    button.setAttribute("aria-label", say(timer ? "stop" : "play"));
  };
  const go = (index) => {
    move(index);
    const began = performance.now();
    const next = () => {
      const { photo } = sides.right.progress;
      const isLate = performance.now() - began > LONGEST_YEAR_MS;
      if (photo.done < photo.total && !isLate) timer = setTimeout(next, YEAR_MS / 10);
      else if (index + 1 < years.length) go(index + 1);
      else stop();
    };
    timer = setTimeout(next, YEAR_MS);
    show();
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    const index = years.indexOf(sides.right.config);
    return go(index + 1 < years.length ? index + 1 : 0);
  });
  show();
  return { stop };
}
