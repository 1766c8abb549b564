/**
 * @file The view as an address: #map=18/42.3939600/-73.5271600&left=old&right=restored&swipe=50
 */

/**
 * @typedef {object} View
 * @property {number} zoom
 * @property {number} lat      degrees
 * @property {number} lng      degrees
 * @property {string} left     layer on the left
 * @property {string} right    layer on the right
 * @property {number} swipe    per cent of the map's width
 */

/** The hash for a view. Seven decimals of a degree are less than half a pixel at zoom 22. */
export function format({ zoom, lat, lng, left, right, swipe }) {
  return `#map=${zoom}/${lat.toFixed(7)}/${lng.toFixed(7)}&left=${left}&right=${right}&swipe=${swipe}`;
}

/**
 * What a hash says, over what holds without it. Anything unreadable is left out: an address that somebody cut
 * short still opens the map.
 *
 * @param {string} hash
 * @param {View} view  the view for what the hash does not say
 * @returns {View}
 */
export function parse(hash, view) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const read = { ...view, left: said.get("left") ?? view.left, right: said.get("right") ?? view.right };
  const place = (said.get("map") ?? "").split("/");
  const [zoom, lat, lng] = place.map(Number);
  if (place.length === 3 && place.every((part) => part !== "" && Number.isFinite(Number(part)))) {
    if (Math.abs(lat) <= 90 && Math.abs(lng) <= 180) Object.assign(read, { zoom: Math.round(zoom), lat, lng });
  }
  const swipe = Number.parseFloat(said.get("swipe") ?? "");
  if (swipe >= 0 && swipe <= 100) read.swipe = swipe;
  return read;
}
