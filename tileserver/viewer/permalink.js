/**
 * @file The view as a URL fragment: #map=18/42.3939600/-73.5271600&left=1951:old&right=1951:restored&swipe=50
 *
 * A side is a layer, in front of it the map's name where there are several; `view=beside` stands for two maps side by
 * side.
 */

/**
 * @typedef {object} View
 * @property {number} zoom
 * @property {number} lat      degrees
 * @property {number} lng      degrees
 * @property {string} left     what the left side shows: "old", or "1951:old"
 * @property {string} right
 * @property {number} swipe    position of the handle, in per cent of the map's width
 * @property {boolean} beside  whether the sides are two maps side by side
 */

/** Returns the fragment of a view. Seven decimals of a degree are less than half a pixel at zoom 22. */
export function format({ zoom, lat, lng, left, right, swipe, beside }) {
  const sides = `left=${left}&right=${right}&swipe=${swipe}${beside ? "&view=beside" : ""}`;
  return `#map=${zoom}/${lat.toFixed(7)}/${lng.toFixed(7)}&${sides}`;
}

/**
 * Parses a fragment. Ignores what it cannot parse, so that a truncated address still opens the map.
 *
 * @param {string} hash
 * @param {View} defaults  the values of what the fragment does not contain
 * @returns {View}
 */
export function parse(hash, defaults) {
  const params = new URLSearchParams(hash.replace(/^#/, ""));
  const view = {
    ...defaults,
    left: params.get("left") ?? defaults.left,
    right: params.get("right") ?? defaults.right,
    beside: params.get("view") === "beside",
  };
  const place = (params.get("map") ?? "").split("/");
  const [zoom, lat, lng] = place.map(Number);
  if (place.length === 3 && place.every((part) => part !== "" && Number.isFinite(Number(part)))) {
    if (Math.abs(lat) <= 90 && Math.abs(lng) <= 180) Object.assign(view, { zoom: Math.round(zoom), lat, lng });
  }
  const swipe = Number.parseFloat(params.get("swipe") ?? "");
  if (swipe >= 0 && swipe <= 100) view.swipe = swipe;
  return view;
}
