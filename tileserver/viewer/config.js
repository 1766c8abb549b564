/**
 * @file What the server says of itself (config.json), checked once so that the rest of the page can trust it.
 */

/**
 * @typedef {object} Config
 * @property {string} name            title of the source
 * @property {string} credit          whose photograph it is
 * @property {string} ai_notice       which model made the restored pictures
 * @property {string[]} layers        "old", "restored", "difference" and perhaps "new"
 * @property {Object<string, string>} tiles  layer -> absolute address with {z}, {x}, {y}
 * @property {number[]} bounds        west, south, east, north of the old photo, in degrees
 * @property {Object<string, number[]>} layerBounds  the same for every layer: the new photo may show less
 * @property {number[]} center        longitude, latitude, zoom
 * @property {number} minzoom         the server draws no tile further out
 * @property {number} maxzoom         the server draws no tile closer
 * @property {number} native_zoom     the zoom whose pixels are the network's own
 */

/**
 * Fetches and checks config.json beside the page.
 *
 * @param {string} pageUrl  the address of the page, which may lie under a path prefix
 * @returns {Promise<Config>}
 * @throws {Error} a sentence for the reader when the server does not answer, or answers something else
 */
export async function loadConfig(pageUrl) {
  const config = await fetchJson(new URL("config.json", pageUrl));
  for (const key of ["layers", "tiles", "bounds", "center", "minzoom", "maxzoom", "native_zoom"]) {
    if (config[key] === undefined) throw new Error(`The server's config.json has no '${key}'.`);
  }
  const tiles = {};
  const layerBounds = {};
  for (const layer of config.layers) {
    tiles[layer] = absoluteTemplate(config.tiles[layer], pageUrl);
    layerBounds[layer] = config.bounds;
  }
  if (config.layers.includes("new")) {
    const tileJson = await fetchJson(new URL("new/WebMercatorQuad/tilejson.json", pageUrl));
    layerBounds.new = tileJson.bounds;
  }
  return { ...config, tiles, layerBounds };
}

async function fetchJson(url) {
  const response = await fetch(url, { cache: "no-cache" });
  if (!response.ok) throw new Error(`The server answered ${response.status} when asked what it shows.`);
  return response.json();
}

/**
 * The absolute form of a tile address. `new URL()` alone would escape the braces, and would lose the
 * path prefix of a proxy that the server knows nothing of.
 *
 * @param {string} template  "/old/tiles/{z}/{x}/{y}.webp", with or without the prefix that the page has
 * @param {string} pageUrl
 * @returns {string}
 */
export function absoluteTemplate(template, pageUrl) {
  if (/^https?:\/\//.test(template)) return template;
  const folder = new URL(".", pageUrl);
  const inside = template.startsWith(folder.pathname)
    ? template.slice(folder.pathname.length)
    : template.replace(/^\//, "");
  return folder.origin + folder.pathname + inside;
}
