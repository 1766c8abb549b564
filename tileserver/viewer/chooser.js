/**
 * @file What each side shows: the two selects, and the labels above them, which tell what is really on the screen.
 */

import { labelOf } from "./layers.js";
import { say } from "./words.js";

const byId = (id) => document.getElementById(id);

/** Returns what stands for a side in selects and links: "old", or "1951:old" where there are several years. */
export function nameOf(side, config) {
  return isOneOfSeveral(side.config, config) ? `${side.config.id}:${side.layer}` : side.layer;
}

/** Returns the map and the layer of a name, or null if the page has none such. */
export function find(name, config) {
  const [layer, id] = name.split(":").reverse();
  const map = id === undefined ? config : [config, ...config.years].find((one) => one.id === id);
  return map?.layers.includes(layer) ? { config: map, layer } : null;
}

/**
 * Fills the two selects.
 *
 * @param {import("./config.js").Config} config
 * @param {{left: import("./sides.js").Side, right: import("./sides.js").Side}} sides
 * @param {() => void} changed  called after a choice
 */
export function setUpSelects(config, sides, changed) {
  for (const [id, side] of Object.entries(sides)) {
    const groups = (config.years.length > 1 ? config.years : [config]).map((map) => optionsOf(map, config));
    byId(id).append(...groups.flat());
    byId(id).addEventListener("change", (event) => {
      const { config: map, layer } = find(event.target.value, config);
      side.show(map, layer);
      changed();
    });
  }
}

function optionsOf(map, config) {
  const options = map.layers.map((layer) => new Option(labelOf(layer, map), nameOf({ config: map, layer }, config)));
  if (!isOneOfSeveral(map, config)) return options;
  const group = document.createElement("optgroup");
  group.label = map.year;
  group.append(...options);
  return [group];
}

/** Writes what each side shows at the moment: a restored layer is not called so while the old photo stands in. */
export function labelSides(sides) {
  for (const [id, side] of Object.entries(sides)) {
    const isStandIn = side.isRestored && side.state !== "whole";
    const { year } = side.config;
    const standIn = year ? say("of_year", { year, what: say(side.state) }) : say(side.state);
    const text = isStandIn ? standIn : labelOf(side.layer, side.config);
    if (byId(`${id}-shown`).textContent !== text) byId(`${id}-shown`).textContent = text;
  }
}

function isOneOfSeveral(map, config) {
  return config.years.length > 1 && config.years.includes(map);
}
