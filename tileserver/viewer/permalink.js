/**
 * @file The view as a URL fragment: #map=18/42.3939600/-73.5271600&left=old&right=restored&swipe=50
 */

/**
 * @typedef {object} View
 * @property {number} zoom
 * @property {number} lat      degrees
 * @property {number} lng      degrees
 * @property {string} left     layer on the left
 * @property {string} right    layer on the right
 * @property {number} swipe    position of the handle, in per cent of the map's width
 */

/** Returns the fragment of a view. Seven decimals of a degree are less than half a pixel at zoom 22. */
export function format({ zoom, lat, lng, left, right, swipe }) {
  return `#map=${zoom}/${lat.toFixed(7)}/${lng.toFixed(7)}&left=${left}&right=${right}&swipe=${swipe}`;
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
