/**
 * @file The page's configuration (config.json), checked once so that the rest of the page can rely on it.
 */

import { say } from "./words.js";

/**
 * @typedef {object} Config
 * @property {string} id              name of the map in paths and links
 * @property {string} name            title of the map
 * @property {string} url             where its page is
 * @property {number | null} year     of the old photo
 * @property {number | null} new_year
 * @property {Config[]} maps          all maps of the server, by year
 * @property {Config[]} years         those of them that are years of the same ground
 * @property {string} credit          copyright holder of the photograph
 * @property {{name: string, digest: string}} ai_model  the model that made the restored layer
 * @property {string[]} layers        "old", "restored", "difference" and perhaps "new"
 * @property {string} root_path       path of the map as far as the server knows it
 * @property {boolean} isPrefixKnown  whether the page lies there; a proxy may have added a prefix
 * @property {Object<string, string>} tiles  absolute URL template with {z}, {x}, {y}, by layer
 * @property {number[]} bounds        west, south, east, north of the old photo, in degrees
 * @property {Object<string, number[]>} layerBounds  bounds by layer: the new photo may cover less
 * @property {number[]} center        longitude, latitude, zoom
 * @property {number} minzoom         first zoom that the server has tiles for
 * @property {number} overview_zoom   the zoom at which the photo fits one tile
 * @property {number} maxzoom         last zoom that the server has tiles for
 * @property {number} native_zoom     the zoom at which the network works
 * @property {boolean} has_files      whether there are files that open the map in other programs
 */

const FIELDS = [
  ...["id", "layers", "root_path", "tiles", "bounds", "layer_bounds", "center", "ai_model"],
  ...["minzoom", "maxzoom", "overview_zoom", "native_zoom"],
];

/** What the server has not sent; `isTemporary` if it may send it when it is asked again. */
class ConfigError extends Error {
  constructor(message, isTemporary) {
    super(message);
    this.isTemporary = isTemporary;
  }
}

/**
 * Fetches config.json beside the page, and checks it.
 *
 * @param {string} pageUrl  URL of the page, which may lie below a path prefix
 * @returns {Promise<Config>}
 * @throws {ConfigError} a sentence to show to the user, if the server does not answer or a field is missing
 */
export async function loadConfig(pageUrl) {
  const document = await fetchJson(new URL("config.json", pageUrl));
  const own = check(document, pageUrl);
  const isPrefixKnown = new URL(".", pageUrl).pathname === `${own.root_path}/`;
  const maps = document.maps.map((one) => (one.id === own.id ? own : check(one, new URL(one.href, pageUrl))));
  return Object.assign(own, { isPrefixKnown, maps, years: maps.filter((one) => one.year !== null && isNear(one, own)) });
}

function check(config, mapUrl) {
  for (const field of FIELDS) {
    if (config[field] === undefined) throw new ConfigError(say("no_field", { field }), false);
  }
  const tiles = {};
  for (const layer of config.layers) {
    tiles[layer] = absoluteTemplate(config.tiles[layer].slice(config.root_path.length), mapUrl);
  }
  return { ...config, url: String(mapUrl), tiles, layerBounds: config.layer_bounds };
}

/** Whether two maps show the same ground: a page of years is not one of several towns. */
function isNear({ bounds: [west, south, east, north] }, { bounds: [left, bottom, right, top] }) {
  return west < right && left < east && south < top && bottom < north;
}

async function fetchJson(url) {
  const response = await fetch(url).catch(() => {
    throw new ConfigError(say("no_answer"), true);
  });
  if (!response.ok) throw new ConfigError(say("bad_answer", { status: response.status }), response.status >= 500);
  return response.json();
}

/**
 * Makes a tile URL template absolute. `new URL()` would escape the braces, and lose a path prefix that a
 * proxy adds without telling the server.
 *
 * @param {string} template  "/old/tiles/{z}/{x}/{y}.webp", relative to the map's page
 * @param {string} pageUrl
 * @returns {string}
 */
export function absoluteTemplate(template, pageUrl) {
  const folder = new URL(".", pageUrl);
  return folder.origin + folder.pathname + template.replace(/^\//, "");
}
